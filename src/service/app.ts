import { randomUUID } from 'node:crypto';
import { createServer } from 'node:http';
import Fastify, { LogController } from 'fastify';
import type { FastifyInstance, FastifyRequest } from 'fastify';
import { guard } from './auth/guard.ts';
import { createIdentification } from './auth/identify.ts';
import { createServerTokens } from './auth/server-tokens.ts';
import type { ServiceConfig } from './config.ts';
import { addRoute, countAnswer, createCounts } from './metrics/request-times.ts';
import { refuseUnknown, sendProblem } from './problem.ts';
import { createCalls } from './calls/calls.ts';
import { createRooms } from './rooms/rooms.ts';
import { limitOutsiders } from './listen.ts';
import { addCallRoutes } from './routes/calls.ts';
import { addDocsRoute } from './routes/docs.ts';
import { addHealthRoutes } from './routes/health.ts';
import { addMetricsRoute } from './routes/metrics.ts';
import { addRoomRoutes } from './routes/rooms.ts';
import { addTokenRoutes } from './routes/tokens.ts';
import { createWebhookReceiver } from './routes/webhook.ts';
import { SECURITY_HEADERS, addSecurityHeaders, allowOrigins, isBeside, wellFormedId } from './web.ts';
import { addWebhookRoutes } from './routes/webhooks.ts';
import type { Store } from './store/store.ts';
import { createIncomingCounters } from './webhooks/incoming-counters.ts';
import type { IncomingCounters } from './webhooks/incoming-counters.ts';
import { createWebhooks } from './webhooks/webhooks.ts';

const SERVER_OPTIONS = {
  /** A request is some kilobytes from the proxy beside: it comes at once, or is an attempt to hold the connection. */
  requestTimeout: 10_000,
  headersTimeout: 5_000,
  /** How late Node may notice the two above; by itself it looks every 30 s. */
  connectionsCheckingInterval: 1_000,
  /** Fastify's own: longer than proxies keep theirs, or one might ask in the moment of the closing. */
  keepAliveTimeout: 72_000,
};
/** Far more than a fleet's joins need at a time, far less than the process may open. */
const MAX_CONNECTIONS = 1_024;
/** Of these from other machines. */
const MAX_OUTSIDERS = 768;
const BODY_BYTES = 64 * 1024;
const MAX_HEAD_BYTES = 16 * 1024;

export interface AppDeps {
  readonly config: ServiceConfig;
  readonly store: Store;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  /** Counts LiveKit's webhooks. */
  readonly incoming?: IncomingCounters;
  /** Takes the JSON log lines; the standard output where absent. */
  readonly logTo?: { write(line: string): void };
}

function refuseSchema(): never {
  throw new Error('routes have zod schemas, not JSON schemas');
}

/** The HTTP application; to listen and to close the store are the caller's. */
export function buildApp(deps: AppDeps): FastifyInstance {
  const { config } = deps;
  const rooms = createRooms(deps);
  const incoming = deps.incoming ?? createIncomingCounters();
  const counts = createCounts();
  let isClosing = false;
  const receiver = createWebhookReceiver({ ...deps, rooms, counters: incoming, counts, log: () => app.log, isClosing: () => isClosing });
  const app: FastifyInstance = Fastify({
    bodyLimit: BODY_BYTES,
    // What a name may be, the schemas say; a request's head is bounded by Node.
    routerOptions: { maxParamLength: MAX_HEAD_BYTES },
    serverFactory: (handler) => createServer(SERVER_OPTIONS, receiver.before(handler)),
    logger: {
      level: config.logLevel,
      // No query: it may hold a token.
      serializers: { req: ({ method, url, ip }: FastifyRequest) => ({ method, path: url.replace(/\?.*/s, ''), remoteAddress: ip }) },
      redact: ['req.headers.authorization', 'headers.authorization', 'authorization'],
      ...(deps.logTo === undefined ? {} : { stream: deps.logTo }),
    },
    // One line for each that is refused, below; for all others with level debug.
    logController: new LogController({ disableRequestLogging: true }),
    // The caller's own, so that it can be found in both logs; else one that no restart repeats.
    genReqId: ({ headers }) => wellFormedId(headers['x-request-id']) ?? randomUUID(),
    // Caddy is on this machine, and says for whom it asks.
    trustProxy: isBeside,
    // Errors before routing, such as a malformed URL, do not come to the error handler.
    frameworkErrors: (error, request, reply) => void sendProblem(error, request, reply.headers(SECURITY_HEADERS)),
    forceCloseConnections: 'idle',
    // Bodies are checked by the zod schemas of the contract: JSON-schema compilers are not loaded.
    schemaController: { compilersFactory: { buildValidator: () => refuseSchema, buildSerializer: () => refuseSchema } },
  });
  app.server.maxConnections = MAX_CONNECTIONS;
  limitOutsiders(app.server, MAX_OUTSIDERS);
  // A connection that a client keeps open after its last answer would hold up the stop until its keep-alive ends.
  app.addHook('preClose', async () => {
    isClosing = true;
  });
  app.addHook('onSend', (_request, reply, _payload, done) => {
    if (isClosing) reply.header('connection', 'close');
    done();
  });
  app.addHook('onResponse', (request, reply, done) => {
    const { statusCode: status, elapsedTime: ms } = reply;
    if (status >= 400) request.log.info({ req: request, status, ms }, 'request');
    else if (config.logLevel === 'debug') request.log.debug({ req: request, status, ms }, 'request');
    done();
  });
  app.setErrorHandler(sendProblem);
  app.setNotFoundHandler(refuseUnknown);
  addSecurityHeaders(app);
  allowOrigins(app, config.corsOrigins);
  const tokens = createServerTokens({ store: deps.store, sha256: config.tokenSha256, now: deps.now });
  const identification = createIdentification({ config, tokens, now: deps.now });
  const webhooks = createWebhooks({ ...deps, log: app.log });
  app.addHook('onReady', () => webhooks.start());
  app.addHook('onClose', () => webhooks.stop());
  app.addHook('onRoute', (route) => {
    const times = addRoute(counts, String(route.method), route.url);
    route.onResponse = (_request, reply, done) => {
      countAnswer(times, reply.statusCode, reply.elapsedTime);
      done();
    };
  });
  addHealthRoutes(app, deps);
  addMetricsRoute(app, {
    counts,
    incoming,
    outgoing: webhooks.counters,
    store: deps.store,
    database: config.database,
    now: deps.now,
    identify: (request) => identification.identify(request),
  });
  void app.register(async (open) => {
    open.addHook('onRequest', (request, _reply, done) => {
      identification.countStranger(request);
      done();
    });
    addDocsRoute(open);
  });
  void app.register(
    async (api) => {
      guard(api, (request) => identification.identify(request));
      // Its own handler, so that unknown addresses are guarded too.
      api.setNotFoundHandler(refuseUnknown);
      const calls = createCalls({ ...deps, rooms });
      addRoomRoutes(api, { rooms, calls, store: deps.store });
      addCallRoutes(api, calls);
      addTokenRoutes(api, tokens);
      addWebhookRoutes(api, webhooks);
    },
    { prefix: '/api/v1' },
  );
  void app.register((hook) => receiver.addRoute(hook));
  return app;
}
