import type { FastifyInstance, FastifyRequest } from 'fastify';
import { MAX_WEBHOOK_BYTES } from '../../contract/webhook-event.ts';
import type { ServiceConfig } from '../config.ts';
import { HttpProblem } from '../problem.ts';
import type { Store } from '../store/store.ts';
import { checkSigner, readEvent } from '../webhooks/event.ts';
import type { IncomingCounters } from '../webhooks/incoming-counters.ts';

/** `/api/webhook`, where LiveKit's webhooks come. */
export async function addWebhookRoute(
  hook: FastifyInstance,
  { config, store, now, counters }: { config: ServiceConfig; store: Store; now: () => number; counters: IncomingCounters },
): Promise<void> {
  /** What the header of a request vouches for. */
  const hashes = new WeakMap<FastifyRequest, string>();
  // The signature covers the raw bytes: nothing may parse them first.
  hook.removeAllContentTypeParsers();
  hook.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_WEBHOOK_BYTES }, (_request, body, done) => done(null, body));
  hook.addHook('onRequest', async (request) => {
    hashes.set(request, checkSigner(request.headers.authorization, { keys: config.livekitKeys, nowMs: now() }));
  });
  hook.addHook('onError', async (_request, _reply, error: unknown) => {
    if (error instanceof HttpProblem) counters.refused(error.code);
  });
  hook.post('/api/webhook', async (request) => {
    const event = readEvent(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0), hashes.get(request) ?? '', now());
    const fate = await store.receive(event);
    counters.count(event.event, fate);
    return { accepted: fate !== 'duplicate' };
  });
}
