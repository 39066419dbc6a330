import type { FastifyBaseLogger, FastifyInstance } from 'fastify';
import { MAX_WEBHOOK_BYTES } from '../../contract/webhook-event.ts';
import type { ServiceConfig } from '../config.ts';
import { observe } from '../metrics/request-times.ts';
import type { Histogram } from '../metrics/request-times.ts';
import { HttpProblem } from '../problem.ts';
import type { Rooms } from '../rooms/rooms.ts';
import type { Store } from '../store/store.ts';
import { checkSigner, readEvent } from '../webhooks/event.ts';
import type { StoredEvent } from '../webhooks/event.ts';
import type { IncomingCounters } from '../webhooks/incoming-counters.ts';

declare module 'fastify' {
  interface FastifyRequest {
    vouchedHash: string;
  }
}

interface WebhookDeps {
  readonly config: ServiceConfig;
  readonly store: Store;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly rooms: Pick<Rooms, 'closeReopened'>;
  readonly counters: IncomingCounters;
  /** Seconds between an event and its arrival. */
  readonly lag: Histogram;
}

/** `/api/webhook`, where LiveKit's webhooks come. */
export async function addWebhookRoute(hook: FastifyInstance, { config, store, now, rooms, counters, lag }: WebhookDeps): Promise<void> {
  /** LiveKit does not wait for it: the event is kept. */
  const closeReopened = async ({ room, roomCreatedAtMs }: StoredEvent, log: FastifyBaseLogger): Promise<void> => {
    try {
      if (await rooms.closeReopened(room, roomCreatedAtMs)) log.info({ room }, 'opened anew with a former token; ended again');
    } catch (error) {
      log.warn({ err: error, room }, 'opened anew with a former token, and not ended');
    }
  };
  // What the header of a request vouches for.
  hook.decorateRequest('vouchedHash', '');
  // The signature covers the raw bytes: nothing may parse them first.
  hook.removeAllContentTypeParsers();
  hook.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_WEBHOOK_BYTES }, (_request, body, done) => done(null, body));
  hook.addHook('onRequest', (request, _reply, done) => {
    request.vouchedHash = checkSigner(request.headers.authorization, { keys: config.livekitKeys, nowMs: now() });
    done();
  });
  hook.addHook('onError', (_request, _reply, error: unknown, done) => {
    if (error instanceof HttpProblem) counters.refused(error.code);
    done();
  });
  hook.post('/api/webhook', async (request) => {
    const event = readEvent(Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0), request.vouchedHash, now());
    const fate = await store.receive(event);
    counters.count(event.event, fate);
    if (event.atMs > 0) observe(lag, Math.max(0, event.receivedAtMs - event.atMs) / 1000);
    if (event.event === 'room_started') void closeReopened(event, request.log);
    return { accepted: fate !== 'duplicate' };
  });
}
