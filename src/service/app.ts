import { createHash, timingSafeEqual } from 'node:crypto';
import Fastify from 'fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { z } from 'zod';
import { createRoomSchema, joinRoomSchema, leaveRoomSchema, listRoomsSchema, roomIdSchema } from '../contract/rooms.ts';
import type { ServiceConfig } from './config.ts';
import { HttpProblem } from './problem.ts';
import { createRooms } from './rooms/rooms.ts';
import type { Store } from './store/store.ts';
import { verifyEvent } from './webhooks/event.ts';

const params = z.object({ id: roomIdSchema });

/** The HTTP application; `server.listen` is the caller's. */
export function buildApp(deps: { config: ServiceConfig; store: Store; now: () => number }): FastifyInstance {
  const { config, store, now } = deps;
  const rooms = createRooms(deps);
  const app = Fastify({ bodyLimit: 64 * 1024, logger: { level: config.logLevel, redact: ['req.headers.authorization'] }, forceCloseConnections: 'idle' });
  app.setErrorHandler(async (error, request, reply) => {
    const problem = toProblem(error);
    if (problem.status >= 500) request.log.error({ err: error }, problem.code);
    await reply
      .code(problem.status)
      .type('application/problem+json')
      .send({ type: 'about:blank', title: problem.code, status: problem.status, code: problem.code, detail: problem.message, instance: request.url });
  });
  app.setNotFoundHandler(() => {
    throw new HttpProblem(404, 'NOT_FOUND', 'There is nothing at this address');
  });
  for (const prefix of ['', '/api']) {
    app.get(`${prefix}/healthz`, () => ({ status: 'ok' }));
    app.get(`${prefix}/readyz`, async (_request, reply) => {
      const reasons = await notReady(config, store);
      return reply.code(reasons.length === 0 ? 200 : 503).send({ status: reasons.length === 0 ? 'ready' : 'not ready', reasons });
    });
  }
  void app.register(
    async (api) => {
      api.addHook('onRequest', async (request) => authenticate(request, config.tokenSha256));
      api.post('/rooms', async (request, reply) => reply.code(201).send(await rooms.create(createRoomSchema.parse(request.body ?? {}))));
      api.get('/rooms', async (request) => {
        const { limit, cursor } = listRoomsSchema.parse(request.query);
        const found = store.listRooms({ limit, cursor: cursor ?? null });
        return { rooms: found, cursor: found.length === limit ? (found.at(-1)?.id ?? null) : null };
      });
      api.get('/rooms/:id', async (request) => rooms.read(params.parse(request.params).id));
      api.post('/rooms/:id/join', async (request) => rooms.join(params.parse(request.params).id, joinRoomSchema.parse(request.body)));
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
    hook.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: 1024 * 1024 }, (_request, body, done) => done(null, body));
    hook.post('/api/webhook', async (request) => {
      const body = Buffer.isBuffer(request.body) ? request.body : Buffer.alloc(0);
      const event = await verifyEvent(body, request.headers.authorization, { keys: config.livekitKeys, nowMs: now() });
      return { accepted: store.addEvent(event) };
    });
  });
  return app;
}

function authenticate(request: FastifyRequest, hashes: readonly string[]): void {
  const [scheme, token = ''] = (request.headers.authorization ?? '').split(' ');
  const given = createHash('sha256').update(token).digest();
  if (scheme !== 'Bearer' || !hashes.some((hash) => timingSafeEqual(Buffer.from(hash, 'hex'), given)))
    throw new HttpProblem(401, 'UNAUTHORIZED', 'A valid bearer token is needed');
}

function toProblem(error: unknown): HttpProblem {
  if (error instanceof HttpProblem) return error;
  if (error instanceof z.ZodError)
    return new HttpProblem(400, 'BAD_REQUEST', error.issues.map((issue) => `${issue.path.join('.')}: ${issue.message}`).join('; '));
  if (error instanceof Error && 'statusCode' in error && typeof error.statusCode === 'number' && error.statusCode < 500)
    return new HttpProblem(error.statusCode, 'BAD_REQUEST', error.message);
  return new HttpProblem(500, 'INTERNAL', 'Something went wrong; the log has the details');
}

async function notReady(config: ServiceConfig, store: Store): Promise<string[]> {
  const reasons: string[] = [];
  try {
    store.checkWritable();
  } catch (error) {
    reasons.push(`database: ${error instanceof Error ? error.message : String(error)}`);
  }
  const status = await fetch(`${config.livekitApiUrl}/rtc/validate`, { signal: AbortSignal.timeout(1000) }).then(
    (response) => response.status,
    () => 0,
  );
  if (status !== 401) reasons.push(`livekit: ${status === 0 ? 'unreachable' : `HTTP ${status}`}`);
  return reasons;
}
