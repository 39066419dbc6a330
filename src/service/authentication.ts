import { hash, timingSafeEqual } from 'node:crypto';
import { HttpProblem } from './problem.ts';

/** Gives a check of an Authorization header, which throws HttpProblem 401 UNAUTHORIZED. @param sha256 hex hashes of the tokens that are taken */
export function createAuthentication(sha256: readonly string[]): (authorization: string | undefined) => void {
  const known = sha256.map((one) => Buffer.from(one, 'hex'));
  return (authorization) => {
    const token = /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? '';
    const given = hash('sha256', token, 'buffer');
    if (token === '' || !known.some((one) => timingSafeEqual(one, given))) throw new HttpProblem(401, 'UNAUTHORIZED', 'A valid bearer token is needed');
  };
}
