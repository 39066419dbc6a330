import type { OutgoingHttpHeaders } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RequestPayload } from 'fastify';
import { MAX_WEBHOOK_BYTES } from '../../contract/limits.ts';
import type { ServiceConfig } from '../config.ts';
import { observe } from '../metrics/request-times.ts';
import type { Histogram } from '../metrics/request-times.ts';
import { HttpProblem } from '../problem.ts';
import type { Rooms } from '../rooms/rooms.ts';
import type { Store } from '../store/store.ts';
import { checkSigner, readEvent } from '../webhooks/event.ts';
import type { StoredEvent } from '../webhooks/event.ts';
import type { IncomingCounters } from '../webhooks/incoming-counters.ts';

interface WebhookDeps {
  readonly config: ServiceConfig;
  readonly store: Store;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly rooms: Pick<Rooms, 'closeReopened'>;
  readonly counters: IncomingCounters;
  /** Seconds between an event and its arrival. */
  readonly lag: Histogram;
  /** True from when the service is asked to stop: connections end with their answer. */
  readonly isClosing: () => boolean;
}

/** `/api/webhook`, where LiveKit's webhooks come. */
export async function addWebhookRoute(hook: FastifyInstance, { config, store, now, rooms, counters, lag, isClosing }: WebhookDeps): Promise<void> {
  /** LiveKit does not wait for it: the event is kept. */
  const closeReopened = async ({ room, roomCreatedAtMs }: StoredEvent, log: FastifyBaseLogger): Promise<void> => {
    try {
      if (await rooms.closeReopened(room, roomCreatedAtMs)) log.info({ room }, 'opened anew with a former token; ended again');
    } catch (error) {
      log.warn({ err: error, room }, 'opened anew with a former token, and not ended');
    }
  };
  hook.addHook('onError', (_request, _reply, error: unknown, done) => {
    if (error instanceof HttpProblem) counters.refused(error.code);
    done();
  });
  const receive = async (body: Buffer, hash: string, log: FastifyBaseLogger): Promise<string> => {
    const event = readEvent(body, hash, now());
    const fate = await store.receive(event);
    counters.count(event.event, fate);
    if (event.atMs > 0) observe(lag, Math.max(0, event.receivedAtMs - event.atMs) / 1000);
    if (event.event === 'room_started') void closeReopened(event, log);
    return fate === 'duplicate' ? KNOWN_ALREADY : ACCEPTED;
  };
  // The signature covers the raw bytes: nothing may parse them first. A fleet's busiest request takes a sixth less time where Fastify neither
  // reads nor answers it; what is refused goes Fastify's way.
  hook.addHook('preParsing', (request, reply, payload, done) => {
    const hash = checkSigner(request.headers.authorization, { keys: config.livekitKeys, nowMs: now() });
    readBody(payload, Number(request.headers['content-length'] ?? 0))
      .then((body) => receive(body, hash, request.log))
      .then((text) => {
        reply.hijack();
        const headers: OutgoingHttpHeaders = { 'content-type': 'application/json; charset=utf-8', 'content-length': text.length };
        if (isClosing()) headers['connection'] = 'close';
        reply.raw.writeHead(200, Object.assign(headers, reply.getHeaders())).end(text);
      })
      .catch(done);
  });
  hook.post('/api/webhook', () => {
    throw new Error('answered before');
  });
}

const ACCEPTED = JSON.stringify({ accepted: true });
const KNOWN_ALREADY = JSON.stringify({ accepted: false });

/** @param bytes as the head says; 0: it does not @throws HttpProblem 413 BODY_TOO_LARGE */
function readBody(payload: RequestPayload, bytes: number): Promise<Buffer> {
  return new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let left = MAX_WEBHOOK_BYTES;
    const tooLarge = (): void => {
      payload.removeAllListeners('data').pause();
      reject(new HttpProblem('BODY_TOO_LARGE'));
    };
    if (bytes > left) return tooLarge();
    payload.on('data', (chunk: Buffer) => {
      left -= chunk.length;
      if (left < 0) tooLarge();
      else chunks.push(chunk);
    });
    payload.on('error', reject);
    payload.on('end', () => resolve(chunks.length === 1 && chunks[0] !== undefined ? chunks[0] : Buffer.concat(chunks)));
  });
}
