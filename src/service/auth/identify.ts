import type { FastifyRequest } from 'fastify';
import type { ServiceConfig } from '../config.ts';
import { HttpProblem } from '../problem.ts';
import type { Awaitable } from '../store/database.ts';
import { createEndUsers } from './end-users.ts';
import type { EndUsers } from './end-users.ts';
import { bearerOf } from './guard.ts';
import type { Principal, ServerPrincipal } from './principal.ts';
import { createRateLimit } from './rate-limit.ts';
import type { RateLimit } from './rate-limit.ts';
import type { ServerTokens } from './server-tokens.ts';
import { networkOf } from '../web.ts';

export interface Identification {
  /** Who asks, and as often as they may. @throws HttpProblem 401 UNAUTHORIZED, 429 RATE_LIMITED, 503 AUTH_UNAVAILABLE */
  identify(request: FastifyRequest): Awaitable<Principal>;
  /** Counts a request that needs no token. @throws HttpProblem 429 RATE_LIMITED */
  countStranger(request: FastifyRequest): void;
}

/** @param deps.now milliseconds since the epoch */
export function createIdentification({ config, tokens, now }: { config: ServiceConfig; tokens: ServerTokens; now: () => number }): Identification {
  const { tokenPerSecond, userPerSecond, addressPerSecond } = config.limits;
  const limitOf = (perSecond: number): RateLimit => createRateLimit({ perSecond, now });
  const [ofTokens, ofUsers, ofStrangers] = [limitOf(tokenPerSecond), limitOf(userPerSecond), limitOf(addressPerSecond)];
  const endUsers = config.endUsers === null ? null : createEndUsers({ settings: config.endUsers, now });

  const admit = (principal: Principal): Principal => {
    if (principal.kind === 'server') refuseAfter(ofTokens.take(principal.id));
    else refuseAfter(ofUsers.take(principal.identity));
    return principal;
  };
  /** Whoever comes with what is no server token: a known end user, or from an address that has not been wrong too often. */
  const admitOther = (request: FastifyRequest, token: string): Awaitable<Principal> => {
    const known = endUsers?.known(token) ?? null;
    if (known !== null) return admit(known);
    refuseAfter(ofStrangers.waitOf(networkOf(request.ip)));
    if (endUsers === null || !isJwt(token)) return refuse(request);
    return check(endUsers, token, request);
  };
  const check = (users: EndUsers, token: string, request: FastifyRequest): Promise<Principal> =>
    users.check(token).then(admit, (error: unknown) => {
      if (error instanceof HttpProblem && error.code === 'UNAUTHORIZED') return refuse(request);
      throw error;
    });
  const refuse = (request: FastifyRequest): never => {
    refuseAfter(ofStrangers.take(networkOf(request.ip)));
    throw new HttpProblem('UNAUTHORIZED');
  };
  const decide = (found: ServerPrincipal | null, request: FastifyRequest, token: string): Awaitable<Principal> =>
    found === null ? admitOther(request, token) : admit(found);
  return {
    identify(request) {
      const token = bearerOf(request.headers.authorization);
      if (token === null) return refuse(request);
      const found = tokens.find(token);
      return found instanceof Promise ? found.then((one) => decide(one, request, token)) : decide(found, request, token);
    },
    countStranger: (request) => refuseAfter(ofStrangers.take(networkOf(request.ip))),
  };
}

/** Three parts (RFC 7519); a server token has no dots. */
function isJwt(token: string): boolean {
  return token.split('.').length === 3;
}

function refuseAfter(seconds: number): void {
  if (seconds > 0) throw new HttpProblem('RATE_LIMITED', { seconds });
}
