import type { FastifyInstance, FastifyRequest } from 'fastify';
import { checkMayAsk } from '../auth/principal.ts';
import type { Principal } from '../auth/principal.ts';
import { scrape } from '../metrics/scrape.ts';
import type { ScrapeDeps } from '../metrics/scrape.ts';
import type { Awaitable } from '../store/database.ts';

/** `/metrics`, for Prometheus, which comes with a token of scope metrics:read. Caddy leads nobody there: it is on the service's own port alone. */
export function addMetricsRoute(
  app: FastifyInstance,
  { identify, ...deps }: ScrapeDeps & { identify: (request: FastifyRequest) => Awaitable<Principal> },
): void {
  app.get('/metrics', async (request, reply) => {
    checkMayAsk(await identify(request), { scope: 'metrics:read' });
    return reply.type('text/plain; version=0.0.4; charset=utf-8').send(await scrape(deps));
  });
}
