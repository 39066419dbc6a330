import type { FastifyInstance, FastifyRequest } from 'fastify';
import { MAX_WEBHOOK_BYTES } from '../../contract/webhook-event.ts';
import type { ServiceConfig } from '../config.ts';
import type { Store } from '../store/store.ts';
import { checkSigner, readEvent } from '../webhooks/event.ts';

/** `/api/webhook`, where LiveKit's webhooks come. */
export async function addWebhookRoute(
  hook: FastifyInstance,
  { config, store, now }: { config: ServiceConfig; store: Store; now: () => number },
): Promise<void> {
  /** What the header of a request vouches for. */
  const hashes = new WeakMap<FastifyRequest, string>();
  // The signature covers the raw bytes: nothing may parse them first.
  hook.removeAllContentTypeParsers();
  hook.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_WEBHOOK_BYTES }, (_request, body, done) => done(null, body));
  hook.addHook('onRequest', async (request) => {
    hashes.set(request, checkSigner(request.headers.authorization, { keys: config.livekitKeys, nowMs: now() }));
  });
  hook.post('/api/webhook', async (request) => {
    const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
    return { accepted: await store.addEvent(readEvent(body, hashes.get(request) ?? '', now())) };
  });
}
