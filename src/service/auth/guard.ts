import type { FastifyInstance, FastifyRequest, RouteOptions } from 'fastify';
import { operations } from '../../contract/api.ts';
import type { Operation } from '../../contract/operation.ts';
import type { Awaitable } from '../store/database.ts';
import { checkMayAsk } from './principal.ts';
import type { Principal } from './principal.ts';

const byRoute: ReadonlyMap<string, Operation> = new Map(operations.map((one) => [`${one.method} ${one.path}`, one]));

/**
 * Lets nobody pass whom `identify` does not know, and to each route of the plugin, which is added after this, only who may ask for that:
 * what an operation needs stands in contract/api.ts. A route that is no operation is refused when it is added.
 */
export function guard(api: FastifyInstance, identify: (request: FastifyRequest) => Awaitable<Principal>): void {
  // Only to declare it: a request without its principal comes to no handler.
  api.decorateRequest('principal');
  api.addHook('onRequest', (request, _reply, done) => {
    const found = identify(request);
    if (!(found instanceof Promise)) {
      request.principal = found;
      return done();
    }
    found.then(
      (principal) => {
        request.principal = principal;
        done();
      },
      (error: Error) => done(error),
    );
  });
  api.addHook('onRoute', (route) => {
    const operation = operationOf(route, api.prefix);
    route.onRequest = (request, _reply, done) => {
      checkMayAsk(request.principal, operation);
      done();
    };
  });
}

function operationOf({ method, url }: Pick<RouteOptions, 'method' | 'url'>, prefix: string): Operation {
  const name = `${method === 'HEAD' ? 'GET' : String(method)} ${url.slice(prefix.length)}`;
  const found = byRoute.get(name);
  if (found === undefined) throw new Error(`${name} is no operation of contract/api.ts`);
  return found;
}

/** The bearer token of an Authorization header (RFC 6750, 2.1); null where it has none. */
export function bearerOf(authorization: string | undefined): string | null {
  return /^Bearer +(\S+)$/i.exec(authorization ?? '')?.[1] ?? null;
}
