import { createHash, randomUUID, timingSafeEqual } from 'node:crypto';
import { STATUS_CODES } from 'node:http';
import Fastify from 'fastify';
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify';
import * as z from 'zod';
import { sendRequest } from '../clients/http-request.ts';
import type { ApiProblemCode } from '../contract/problems.ts';
import { createRoomSchema, joinRoomSchema, leaveRoomSchema, listRoomsSchema, roomIdSchema } from '../contract/rooms.ts';
import { MAX_WEBHOOK_BYTES } from '../contract/webhook-event.ts';
import type { ServiceConfig } from './config.ts';
import { HttpProblem } from './problem.ts';
import { createRooms } from './rooms/rooms.ts';
import type { Store } from './store/store.ts';
import { checkSigner, verifyEvent } from './webhooks/event.ts';

/** Codes of what Fastify itself refuses. */
const CODES: ReadonlyMap<number, ApiProblemCode> = new Map([
  [413, 'BODY_TOO_LARGE'],
  [415, 'UNSUPPORTED_MEDIA_TYPE'],
]);
/** A request is some kilobytes from the proxy beside: it comes at once, or is an attempt to hold the connection. */
const REQUEST_TIMEOUT_MS = 10_000;
const HEADERS_TIMEOUT_MS = 5_000;
/** How late Node may notice the two above; by itself it looks every 30 s. */
const TIMEOUT_CHECK_MS = 1_000;
/** Far more than a fleet's joins need at a time, far less than the process may open. */
const MAX_CONNECTIONS = 1_024;
const WRITE_CHECK_PERIOD_MS = 1_000;
const params = z.object({ id: roomIdSchema });

export interface AppDeps {
  readonly config: ServiceConfig;
  readonly store: Store;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Takes the JSON log lines; the standard output where absent. */
  readonly logTo?: { write(line: string): void };
}

function refuseSchema(): never {
  throw new Error('routes have zod schemas, not JSON schemas');
}

/** The HTTP application; to listen and to close the store are the caller's. */
export function buildApp(deps: AppDeps): FastifyInstance {
  const { config, store, now } = deps;
  const rooms = createRooms(deps);
  const app = Fastify({
    bodyLimit: 64 * 1024,
    requestTimeout: REQUEST_TIMEOUT_MS,
    http: { headersTimeout: HEADERS_TIMEOUT_MS, connectionsCheckingInterval: TIMEOUT_CHECK_MS },
    logger: {
      level: config.logLevel,
      // No query: it may hold a token.
      serializers: { req: ({ method, url, ip }: FastifyRequest) => ({ method, path: url.replace(/\?.*/s, ''), remoteAddress: ip }) },
      redact: ['req.headers.authorization', 'headers.authorization', 'authorization'],
      ...(deps.logTo === undefined ? {} : { stream: deps.logTo }),
    },
    // A request id that no restart repeats.
    genReqId: () => randomUUID(),
    // Errors before routing, such as a malformed URL, do not come to the error handler.
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply),
    forceCloseConnections: 'idle',
    // Bodies are checked by the zod schemas of the contract: JSON-schema compilers are not loaded.
    schemaController: { compilersFactory: { buildValidator: () => refuseSchema, buildSerializer: () => refuseSchema } },
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  // A connection that a client keeps open after its last answer would hold up the stop until its keep-alive ends.
  let isClosing = false;
  app.addHook('preClose', async () => {
    isClosing = true;
  });
  app.addHook('onSend', async (_request, reply) => {
    if (isClosing) reply.header('connection', 'close');
  });
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler(refuseUnknown);
  const checkDatabase = databaseCheck(store, now);
  for (const prefix of ['', '/api']) {
    app.get(`${prefix}/healthz`, () => ({ status: 'ok' }));
    app.get(`${prefix}/readyz`, async (_request, reply) => {
      const reasons = [...checkDatabase(), ...(await checkLivekit(config))];
      return reply.code(reasons.length === 0 ? 200 : 503).send({ status: reasons.length === 0 ? 'ready' : 'not ready', reasons });
    });
  }
  void app.register(
    async (api) => {
      api.addHook('onRequest', async (request) => authenticate(request, config.tokenSha256));
      // Its own handler, so that the hook guards unknown addresses too.
      api.setNotFoundHandler(refuseUnknown);
      api.post('/rooms', async (request, reply) => reply.code(201).send(await rooms.create(createRoomSchema.parse(request.body ?? {}))));
      api.get('/rooms', async (request) => {
        const { limit, cursor } = listRoomsSchema.parse(request.query);
        const found = store.listRooms({ limit, cursor: cursor ?? null });
        return { rooms: found, cursor: found.length === limit ? (found.at(-1)?.id ?? null) : null };
      });
      api.get('/rooms/:id', async (request) => rooms.read(params.parse(request.params).id));
      api.post('/rooms/:id/join', async (request) => {
        // Caddy sets this header and drops what a client wrote into it.
        const isPlain = request.headers['x-forwarded-proto'] === 'http';
        return rooms.join(params.parse(request.params).id, joinRoomSchema.parse(request.body), isPlain);
      });
      api.post('/rooms/:id/leave', async (request, reply) => {
        await rooms.leave(params.parse(request.params).id, leaveRoomSchema.parse(request.body).identity);
        return reply.code(204).send();
      });
      api.get('/rooms/:id/events', async (request) => ({ events: store.eventsOf(params.parse(request.params).id) }));
    },
    { prefix: '/api/v1' },
  );
  void app.register(async (hook) => {
    // The signature covers the raw bytes: nothing may parse them first.
    hook.removeAllContentTypeParsers();
    hook.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: MAX_WEBHOOK_BYTES }, (_request, body, done) => done(null, body));
    hook.addHook('onRequest', async (request) => checkSigner(request.headers.authorization, { keys: config.livekitKeys, nowMs: now() }));
    hook.post('/api/webhook', async (request) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const event = await verifyEvent(body, request.headers.authorization, { keys: config.livekitKeys, nowMs: now() });
      return { accepted: store.addEvent(event) };
    });
  });
  return app;
}

function refuseUnknown(): never {
  throw new HttpProblem(404, 'NOT_FOUND', 'There is nothing at this address');
}

function sendProblem(error: unknown, request: FastifyRequest, reply: FastifyReply): FastifyReply {
  const { status, code, message } = toProblem(error);
  if (status >= 500) request.log.error({ err: error }, code);
  // What is refused before its body came is not read to its end.
  if (!request.raw.complete) void reply.header('connection', 'close');
  return reply
    .code(status)
    .type('application/problem+json')
    .send({ type: 'about:blank', title: STATUS_CODES[status] ?? code, status, code, detail: message, instance: request.url });
}

function authenticate(request: FastifyRequest, hashes: readonly string[]): void {
  const token = /^Bearer +(\S+)$/i.exec(request.headers.authorization ?? '')?.[1] ?? '';
  const given = createHash('sha256').update(token).digest();
  if (token === '' || !hashes.some((hash) => timingSafeEqual(Buffer.from(hash, 'hex'), given)))
    throw new HttpProblem(401, 'UNAUTHORIZED', 'A valid bearer token is needed');
}

function toProblem(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof z.ZodError)
    return new HttpProblem(400, 'BAD_REQUEST', error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '));
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500)
    return new HttpProblem(error.statusCode, CODES.get(error.statusCode) ?? 'BAD_REQUEST', error.message);
  return new HttpProblem(500, 'INTERNAL', 'Something went wrong; the log has the details');
}

/** Gives what keeps the database from being written. Anyone may ask: the disk is asked once a second, the answer before is given till then. */
function databaseCheck(store: Store, now: () => number): () => readonly string[] {
  let last: { atMs: number; reasons: readonly string[] } | null = null;
  return () => {
    if (last === null || Math.abs(now() - last.atMs) >= WRITE_CHECK_PERIOD_MS) last = { atMs: now(), reasons: tryWriting(store) };
    return last.reasons;
  };
}

function tryWriting(store: Store): readonly string[] {
  try {
    store.checkWritable();
    return [];
  } catch (error) {
    return [`database: ${error instanceof Error ? error.message : String(error)}`];
  }
}

async function checkLivekit(config: ServiceConfig): Promise<string[]> {
  // LiveKit answers 401 to a validation without a token; 1 s is ample inside one machine.
  const status = await sendRequest({ url: `${config.livekitApiUrl}/rtc/validate`, timeoutMs: 1000 }).then(
    (answer) => answer.status,
    () => 0,
  );
  return status === 401 ? [] : [`livekit: ${status === 0 ? 'unreachable' : `HTTP ${status}`}`];
}
