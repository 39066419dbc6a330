import type { Operation } from '../../contract/operation.ts';
import { HttpProblem } from '../problem.ts';

/** Who asks: an application by a server token, or an end user by a JWT of the operator's own. */
export type Principal = ServerPrincipal | EndUser;

export interface ServerPrincipal {
  readonly kind: 'server';
  /** The token's id. */
  readonly id: string;
  /** Scopes (contract/scopes.ts) that the token has, `*` and the like spelt out. */
  readonly scopes: ReadonlySet<string>;
  readonly expiresAtMs: number | null;
}

export interface EndUser {
  readonly kind: 'user';
  /** As participants are known. */
  readonly identity: string;
}

declare module 'fastify' {
  interface FastifyRequest {
    /** Set before any handler below /api/v1 runs. */
    principal: Principal;
  }
}

/** @throws HttpProblem 403 FORBIDDEN, NOT_YOURS: the operation is not for who asks */
export function checkMayAsk(principal: Principal, { scope, users }: Pick<Operation, 'scope' | 'users'>): void {
  if (principal.kind === 'server' && !principal.scopes.has(scope)) throw new HttpProblem('FORBIDDEN', { scope });
  if (principal.kind === 'user' && users === undefined) throw new HttpProblem('NOT_YOURS', { identity: principal.identity });
}

/** An application speaks for everybody, an end user for themselves. @throws HttpProblem 403 NOT_YOURS */
export function checkIsFor(principal: Principal, identity: string): void {
  if (principal.kind === 'user' && principal.identity !== identity) throw new HttpProblem('NOT_YOURS', { identity: principal.identity });
}
