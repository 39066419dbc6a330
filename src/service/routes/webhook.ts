import { randomUUID } from 'node:crypto';
import type { IncomingMessage, RequestListener, ServerResponse } from 'node:http';
import type { FastifyBaseLogger, FastifyInstance, RequestPayload } from 'fastify';
import { MAX_WEBHOOK_BYTES } from '../../contract/limits.ts';
import type { ServiceConfig } from '../config.ts';
import { countAnswer, observe } from '../metrics/request-times.ts';
import type { Counts, RouteCounts } from '../metrics/request-times.ts';
import { HttpProblem } from '../problem.ts';
import type { Rooms } from '../rooms/rooms.ts';
import type { Store } from '../store/store.ts';
import { SECURITY_HEADERS, wellFormedId } from '../web.ts';
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
  readonly counts: Counts;
  readonly log: () => FastifyBaseLogger;
  /** True from when the service is asked to stop: connections end with their answer. */
  readonly isClosing: () => boolean;
}

/** Takes LiveKit's webhooks at `/api/webhook`. */
export interface WebhookReceiver {
  /** A fleet's busiest request takes a fifth less time where Fastify has nothing to do with it; all others, and what is refused, are `next`'s. */
  before(next: RequestListener): RequestListener;
  addRoute(hook: FastifyInstance): Promise<void>;
}

const PATH = '/api/webhook';
const ACCEPTED = JSON.stringify({ accepted: true });
const KNOWN_ALREADY = JSON.stringify({ accepted: false });
const HEADERS = Object.entries({ ...SECURITY_HEADERS, 'content-type': 'application/json; charset=utf-8' }).flat();

export function createWebhookReceiver({ config, store, now, rooms, counters, counts, log, isClosing }: WebhookDeps): WebhookReceiver {
  /** LiveKit does not wait for it: the event is kept. */
  const closeReopened = async ({ room, roomCreatedAtMs }: StoredEvent): Promise<void> => {
    try {
      if (await rooms.closeReopened(room, roomCreatedAtMs)) log().info({ room }, 'opened anew with a former token; ended again');
    } catch (error) {
      log().warn({ err: error, room }, 'opened anew with a former token, and not ended');
    }
  };
  const keep = async (body: Buffer, hash: string): Promise<string> => {
    const event = readEvent(body, hash, now());
    const fate = await store.receive(event);
    counters.count(event.event, fate);
    if (event.atMs > 0) observe(counts.webhookLag, Math.max(0, event.receivedAtMs - event.atMs) / 1000);
    if (event.event === 'room_started') void closeReopened(event);
    return fate === 'duplicate' ? KNOWN_ALREADY : ACCEPTED;
  };
  /** Answers once the event is kept. The signature covers the raw bytes: nothing may parse them first. @throws HttpProblem, with nothing answered */
  const take = async ({ headers }: IncomingMessage, body: RequestPayload, response: ServerResponse, id: string): Promise<void> => {
    const hash = checkSigner(headers.authorization, { keys: config.livekitKeys, nowMs: now() });
    const text = await keep(await readBody(body, Number(headers['content-length'] ?? 0)), hash);
    const own = ['content-length', String(text.length), 'x-request-id', id, ...(isClosing() ? ['connection', 'close'] : [])];
    response.writeHead(200, [...HEADERS, ...own]).end(text);
  };
  /** What was refused before Fastify, and why. */
  const refused = new WeakMap<IncomingMessage, unknown>();
  let route: RouteCounts | undefined;
  return {
    before(next) {
      // Each request has its line in the log.
      if (config.logLevel === 'debug') return next;
      return (request, response) => {
        if (request.url !== PATH || request.method !== 'POST') return next(request, response);
        const beganMs = performance.now();
        take(request, request, response, wellFormedId(request.headers['x-request-id']) ?? randomUUID()).then(
          () => {
            route ??= counts.routes.find((one) => one.route === PATH);
            if (route !== undefined) countAnswer(route, 200, performance.now() - beganMs);
          },
          (error: unknown) => {
            refused.set(request, error);
            next(request, response);
          },
        );
      };
    },
    async addRoute(hook) {
      hook.addHook('onError', (_request, _reply, error: unknown, done) => {
        if (error instanceof HttpProblem) counters.refused(error.code);
        done();
      });
      hook.addHook('preParsing', (request, reply, payload, done) => {
        const error = refused.get(request.raw);
        if (error !== undefined) return done(error as Error);
        take(request.raw, payload, reply.raw, request.id).then(() => reply.hijack(), done);
      });
      hook.post(PATH, () => {
        throw new Error('answered before');
      });
    },
  };
}

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
