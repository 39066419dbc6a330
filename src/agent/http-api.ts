import { createServer } from 'node:http';
import type { IncomingMessage, Server, ServerResponse } from 'node:http';
import { setTimeout as sleep } from 'node:timers/promises';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { roomOfToken } from '../clients/livekit-token.ts';
import { redisTimeMs } from '../clients/redis-time.ts';
import { WAIT } from '../contract/gateway-routes.ts';
import type { Wanted } from '../contract/gateway-routes.ts';
import { ROOM_NODE_KEY } from '../contract/livekit-records.ts';
import { NODES_KEY, isReachable, parseNodeRecords } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { MAX_WEBHOOK_BYTES } from '../contract/limits.ts';
import { MACHINE_HEADER, SIGNALLING_PATH, TOKEN_HEADER, UPSTREAM_HEADER } from '../contract/signalling.ts';
import type { WebhookRelay } from './webhook-relay/relay.ts';

/** Callers are on this machine: what does not come at once, holds a connection in vain. Node checks every second, not every 30. */
const LIMITS = { requestTimeout: 10_000, headersTimeout: 5_000, connectionsCheckingInterval: 1_000 };
/** LiveKit has one connection per room with news, the service one per join, Caddy one per client that comes in; each lasts milliseconds. */
const MAX_CONNECTIONS = 1_024;
/** An access token has up to 16 384 characters of metadata. */
const MAX_HEADER_BYTES = 128 * 1024;
/** A primary that is lost answers nothing for seconds, and a client would wait in vain. */
const LOOK_UP_MS = 250;

export interface HttpApiOptions {
  readonly machine: string;
  /** Null on a gateway that no media machine has joined yet. */
  readonly redis: Redis | null;
  readonly log: Logger;
  /** Null on a machine without LiveKit. */
  readonly isLivekitServing: (() => boolean) | null;
  /** Whether Caddy's upstreams are those of the fleet; null on a machine without Caddy. */
  readonly isInStep: (() => boolean) | null;
  /** Where signalling goes, see contract/gateway-routes.ts; null on a machine without Caddy. */
  readonly wayTo: ((wanted: Wanted) => string | null) | null;
  /** Null where webhooks are turned off. */
  readonly relay: WebhookRelay | null;
}

/** The agent's own HTTP server, not yet listening. */
export function createHttpApi(options: HttpApiOptions): Server {
  const server = createServer({ ...LIMITS, maxHeaderSize: MAX_HEADER_BYTES }, (request, response) => {
    handle(options, request, response).catch((error: unknown) => {
      options.log.error({ err: error }, 'request failed');
      if (!response.headersSent) sendJson(response, 500, { error: 'INTERNAL' });
      else response.destroy();
    });
  });
  server.maxConnections = MAX_CONNECTIONS;
  return server;
}

async function handle(options: HttpApiOptions, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const path = new URL(request.url ?? '/', 'http://agent').pathname;
  if (request.method === 'POST' && path === '/webhook' && options.relay !== null) return receiveWebhook(options.relay, request, response);
  if (request.method === 'GET' && path === '/healthz') return sendHealth(options, response);
  if (request.method === 'GET' && path === SIGNALLING_PATH && options.wayTo !== null)
    return leadSignalling(options.redis, options.wayTo, { request, response });
  const room = request.method === 'GET' ? roomOf(path) : null;
  if (room !== null) return sendRoomNode(options.redis, room, response);
  sendJson(response, 404, { error: 'NOT_FOUND' });
}

async function receiveWebhook(relay: WebhookRelay, request: IncomingMessage, response: ServerResponse): Promise<void> {
  const authorization = request.headers.authorization ?? '';
  if (!relay.isSigned(authorization)) {
    response.setHeader('connection', 'close');
    return sendJson(response, 401, {});
  }
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of request as AsyncIterable<Buffer>) {
    size += chunk.length;
    if (size > MAX_WEBHOOK_BYTES) {
      response.setHeader('connection', 'close');
      return sendJson(response, 413, { error: 'TOO_LARGE' });
    }
    chunks.push(chunk);
  }
  const status = relay.receive(Buffer.concat(chunks), authorization);
  sendJson(response, status, {});
}

async function sendHealth(options: HttpApiOptions, response: ServerResponse): Promise<void> {
  const fleet = await readFleet(options.redis);
  sendJson(response, 200, {
    machine: options.machine,
    redis: fleet !== null,
    livekit: options.isLivekitServing?.() ?? null,
    upstreams: options.isInStep?.() ?? null,
    webhooksWaiting: options.relay?.waiting() ?? null,
    nodes: (fleet?.records ?? []).map((record) => ({ ...record, ageMs: (fleet?.nowMs ?? 0) - record.updatedAtMs })),
  });
}

async function sendRoomNode(redis: Redis | null, room: string, response: ServerResponse): Promise<void> {
  const fleet = await readFleet(redis);
  if (fleet === null || redis === null) return sendJson(response, 503, { error: 'REDIS_UNAVAILABLE' });
  const nodeId = await redis.hget(ROOM_NODE_KEY, room);
  const record = nodeId === null ? undefined : fleet.records.find((one) => one.nodeId === nodeId && isReachable(one, fleet.nowMs));
  if (record === undefined) return sendJson(response, 404, { error: 'ROOM_HAS_NO_NODE' });
  sendJson(response, 200, { path: `/n/${record.machine}` });
}

/** LiveKit checks the token; here it is only a hint where to go. */
async function leadSignalling(
  redis: Redis | null,
  wayTo: (wanted: Wanted) => string | null,
  { request: { headers }, response }: { request: IncomingMessage; response: ServerResponse },
): Promise<void> {
  // In LiveKit's own order.
  const room = roomOfToken(headers.authorization?.replace(/^Bearer /i, '') ?? '') ?? roomOfToken(String(headers[TOKEN_HEADER.toLowerCase()] ?? ''));
  // Without Redis nobody can come in; those who are in stay where they are.
  const nodeId =
    room === null || redis?.status !== 'ready' ? null : await Promise.race([redis.hget(ROOM_NODE_KEY, room).catch(() => null), sleep(LOOK_UP_MS, null)]);
  const machine = String(headers[MACHINE_HEADER.toLowerCase()] ?? '');
  const way = wayTo({ nodeId, machine: machine === '' ? null : machine });
  // Caddy reads no body, and would have to close the connection where there may be one.
  if (way === WAIT) response.writeHead(503, { 'content-length': 0 }).end();
  else response.writeHead(204, way === null ? {} : { [UPSTREAM_HEADER]: way }).end();
}

async function readFleet(redis: Redis | null): Promise<{ records: NodeRecord[]; nowMs: number } | null> {
  if (redis?.status !== 'ready') return null;
  try {
    return { nowMs: await redisTimeMs(redis), records: parseNodeRecords(await redis.hgetall(NODES_KEY)) };
  } catch {
    // Redis went away just now, in whatever way: the same as above.
    return null;
  }
}

function roomOf(path: string): string | null {
  const encoded = /^\/v1\/rooms\/([^/]+)\/node$/.exec(path)?.[1];
  if (encoded === undefined) return null;
  try {
    return decodeURIComponent(encoded);
  } catch (error) {
    if (error instanceof URIError) return null;
    throw error;
  }
}

function sendJson(response: ServerResponse, status: number, body: unknown): void {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}
