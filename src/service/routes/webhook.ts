import type { FastifyBaseLogger, FastifyInstance, FastifyRequest } from 'fastify';
import { MAX_WEBHOOK_BYTES } from '../../contract/webhook-event.ts';
import type { ServiceConfig } from '../config.ts';
import { observe } from '../metrics/request-times.ts';
import type { Histogram } from '../metrics/request-times.ts';
import type { Rooms } from '../rooms/rooms.ts';
import type { Store } from '../store/store.ts';
import { checkSigner, readEvent } from '../webhooks/event.ts';
import type { StoredEvent } from '../webhooks/event.ts';

/** `/api/webhook`, where LiveKit's webhooks come. */
export async function addWebhookRoute(
  hook: FastifyInstance,
  { config, store, now, rooms, lag }: { config: ServiceConfig; store: Store; now: () => number; rooms: Pick<Rooms, 'closeReopened'>; lag: Histogram },
): Promise<void> {
  /** LiveKit does not wait for it: the event is kept. */
  const closeReopened = async ({ room, roomCreatedAtMs }: StoredEvent, log: FastifyBaseLogger): Promise<void> => {
    try {
      if (await rooms.closeReopened(room, roomCreatedAtMs)) log.info({ room }, 'opened anew with a former token; ended again');
    } catch (error) {
      log.warn({ err: error, room }, 'opened anew with a former token, and not ended');
    }
  };
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
    const event = readEvent(body, hashes.get(request) ?? '', now());
    const accepted = await store.addEvent(event);
    if (event.atMs > 0) observe(lag, Math.max(0, event.receivedAtMs - event.atMs) / 1000);
    if (event.event === 'room_started') void closeReopened(event, request.log);
    return { accepted };
  });
}
