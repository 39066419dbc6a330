import { createHash, randomUUID } from 'node:crypto';
import { mkdtemp, readFile, readdir, rm } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { AccessToken } from 'livekit-server-sdk';
import pg from 'pg';
import { inject, onTestFinished } from 'vitest';
import { buildApp } from '../../src/service/app.ts';
import type { ServiceConfig } from '../../src/service/config.ts';
import { isPostgres, openStore } from '../../src/service/store/store.ts';
import type { Store } from '../../src/service/store/store.ts';
import { createIncomingCounters } from '../../src/service/webhooks/incoming-counters.ts';
import type { IncomingCounters } from '../../src/service/webhooks/incoming-counters.ts';

export const apiToken = 'the-api-token';
export const keys = { key1: 'secret-of-key-one-that-is-long-enough', key2: 'secret-of-key-two-that-is-long-enough' };
/** LiveKit's clock in the stand-in, ms: its first room is made here, each later one a minute after the one before. */
export const livekitStartMs = Math.floor(Date.now() / 1000) * 1000 + 362;

type Method = 'GET' | 'POST' | 'PATCH' | 'DELETE';

/** Runs before the stand-in answers CreateRoom; a status refuses instead. */
export type OnCreate = (room: { name: string; creationTimeMs: number }) => Promise<number | void> | number | void;

export interface LivekitCall {
  readonly method: string;
  readonly body: unknown;
}

/**
 * Not LiveKit: a local stand-in that speaks as much of its Twirp API as the service calls, with the answers that
 * LiveKit 1.13 gives. The end-to-end test runs the service against the real one.
 */
export async function startLivekitStandIn(
  onCreate: OnCreate = () => undefined,
  options: { answers?: Readonly<Record<string, readonly [status: number, body: unknown]>> } = {},
): Promise<{ url: string; calls: LivekitCall[] }> {
  const calls: LivekitCall[] = [];
  let made = 0;
  const url = await listen(
    createServer(async (request, response) => {
      const answer = (status: number, body: unknown): void => void response.writeHead(status, { 'content-type': 'application/json' }).end(JSON.stringify(body));
      const method = /^\/twirp\/livekit\.RoomService\/(\w+)$/.exec(request.url ?? '')?.[1];
      if (method === undefined) return answer(401, {});
      let text = '';
      for await (const chunk of request as AsyncIterable<Buffer>) text += chunk.toString('utf8');
      const body = JSON.parse(text) as { name: string };
      calls.push({ method, body });
      const other = options.answers?.[method];
      if (other !== undefined) return answer(...other);
      if (method !== 'CreateRoom') return answer(404, { code: 'not_found', msg: 'participant does not exist' });
      const creationTimeMs = livekitStartMs + 60_000 * made++;
      const refusal = await onCreate({ name: body.name, creationTimeMs });
      if (typeof refusal === 'number') return answer(refusal, { code: 'invalid_argument', msg: 'refused by the test' });
      answer(200, { sid: `RM_${made}`, name: body.name, creationTime: String(Math.floor(creationTimeMs / 1000)), creationTimeMs: String(creationTimeMs) });
    }),
  );
  return { url, calls };
}

/** Starts the server on a free port until the test ends. */
export async function listen(server: Server): Promise<string> {
  await new Promise<void>((resolve) => void server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => {
    server.close();
    server.closeAllConnections();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** An empty directory that goes away with the test. */
export async function temporaryDirectory(): Promise<string> {
  const path = await mkdtemp(join(tmpdir(), 'fleet-service-'));
  onTestFinished(() => rm(path, { recursive: true, force: true }));
  return path;
}

/** A checked configuration for a service in `directory`. */
export function serviceConfig(directory: string, livekitApiUrl: string): ServiceConfig {
  return {
    bind: '127.0.0.1',
    port: 0,
    database: join(directory, 'service.db'),
    livekitApiUrl,
    publicUrl: 'wss://meet.example.com',
    plainUrl: null,
    nodeLookupUrl: null,
    livekitKeys: keys,
    signingKey: 'key1',
    tokenSha256: [createHash('sha256').update(apiToken).digest('hex')],
    tokenTtlSeconds: 3600,
    historyDays: 90,
    endUsers: null,
    limits: { tokenPerSecond: 0, userPerSecond: 0, addressPerSecond: 0 },
    corsOrigins: [],
    webhookHttp: 'private',
    logLevel: 'debug',
  };
}

/** Whether this run is over PostgreSQL: a transaction of its own for each change takes many times longer. */
export const isOverPostgres = (): boolean => inject('postgresUrl') !== undefined;

/** An empty database for the test, of the kind that this run is over: a file in `directory`, or a place in the PostgreSQL of the tests. */
export async function emptyDatabase(directory: string): Promise<string> {
  const admin = inject('postgresUrl');
  if (admin === undefined) return join(directory, 'service.db');
  // A schema of its own is quicker than a database, and the same to who works in it.
  const name = `test_${randomUUID().replaceAll('-', '')}`;
  await askPostgres(admin, `CREATE SCHEMA ${name}`);
  onTestFinished(async () => void (await askPostgres(admin, `DROP SCHEMA ${name} CASCADE`)));
  const url = new URL(admin);
  url.searchParams.set('options', `-c search_path=${name}`);
  return url.href;
}

/** One statement on a connection of its own. */
export async function askPostgres(url: string, sql: string): Promise<Record<string, unknown>[]> {
  const client = new pg.Client({ connectionString: url });
  await client.connect();
  try {
    return (await client.query<Record<string, unknown>>(sql)).rows;
  } finally {
    await client.end();
  }
}

/** Rows of the service's database, whichever that is. */
export async function rowsOf({ database }: Pick<TestService, 'database'>, sql: string): Promise<Record<string, unknown>[]> {
  if (isPostgres(database)) return askPostgres(database, sql);
  const db = new DatabaseSync(database, { readOnly: true });
  try {
    return db.prepare(sql).all();
  } finally {
    db.close();
  }
}

/** All that is stored, as it is on the disk (SQLite) or as it is read (PostgreSQL). */
export async function storedText({ directory, database }: TestService): Promise<string> {
  if (isPostgres(database)) {
    const tables = await askPostgres(database, 'SELECT table_name AS name FROM information_schema.tables WHERE table_schema = current_schema()');
    return JSON.stringify(await Promise.all(tables.map(({ name }) => askPostgres(database, `SELECT * FROM ${String(name)}`))));
  }
  const files = (await readdir(directory)).map((name) => readFile(join(directory, name), 'latin1'));
  return (await Promise.all(files)).join('');
}

export interface Answer {
  readonly status: number;
  readonly type: string;
  // The shape is what each test is about.
  readonly body: Record<string, unknown>;
}

export interface TestService {
  readonly directory: string;
  /** Path or URL. */
  readonly database: string;
  readonly store: Store;
  readonly logs: string[];
  readonly incoming: IncomingCounters;
  /** A call with the API token. */
  call(method: Method, url: string, body?: unknown, headers?: Record<string, string>): Promise<Answer>;
  /** Posts `text` as a webhook with this Authorization. */
  post(text: string, authorization: string): Promise<Answer>;
  /** Posts a webhook signed by the first key. */
  webhook(event: unknown): Promise<Answer>;
  /** Opens a real port; gives it. */
  listen(): Promise<number>;
}

/** The real application over a real database, without a socket. */
export async function startService(
  livekitApiUrl: string,
  change: Partial<ServiceConfig> = {},
  prepare: (directory: string) => void = () => undefined,
  now: () => number = Date.now,
): Promise<TestService> {
  const directory = await temporaryDirectory();
  prepare(directory);
  const config = { ...serviceConfig(directory, livekitApiUrl), database: await emptyDatabase(directory), ...change };
  const store = await openStore(config.database);
  const logs: string[] = [];
  const incoming = createIncomingCounters();
  const app = buildApp({ config, store, now, incoming, logTo: { write: (line) => void logs.push(line) } });
  onTestFinished(async () => {
    await app.close();
    await store.close();
  });
  async function send(method: Method, url: string, payload: string | undefined, headers: Record<string, string>): Promise<Answer> {
    const response = await app.inject({ method, url, headers, ...(payload === undefined ? {} : { payload }) });
    const isJson = String(response.headers['content-type']).includes('json');
    return { status: response.statusCode, type: String(response.headers['content-type']), body: isJson ? response.json() : {} };
  }
  const post = (text: string, authorization: string): Promise<Answer> =>
    send('POST', '/api/webhook', text, { authorization, 'content-type': 'application/webhook+json' });
  return {
    directory,
    database: config.database,
    store,
    logs,
    incoming,
    call: (method, url, body, headers) =>
      send(method, url, body === undefined ? undefined : JSON.stringify(body), {
        authorization: `Bearer ${apiToken}`,
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...headers,
      }),
    post,
    listen: async () => Number(new URL(await app.listen({ host: '127.0.0.1', port: 0 })).port),
    webhook: async (event) => post(JSON.stringify(event), await sign(JSON.stringify(event))),
  };
}

/** Signs a webhook's body as LiveKit does. @param ttlSeconds may be negative: expired that long ago */
export async function sign(text: string, key: { name: string; secret: string } = { name: 'key1', secret: keys.key1 }, ttlSeconds = 300): Promise<string> {
  const token = new AccessToken(key.name, key.secret, { ttl: ttlSeconds });
  token.sha256 = createHash('sha256').update(text).digest('base64');
  return token.toJwt();
}

/** A webhook event of a room as LiveKit sends it: 64-bit numbers are strings. */
export function roomEvent(id: string, event: string, options: { room?: string; createdAtMs?: number; participant?: string } = {}): Record<string, unknown> {
  const { room = 'r1', createdAtMs = livekitStartMs, participant } = options;
  return {
    id,
    event,
    room: { sid: 'RM_1', name: room, creationTime: String(Math.floor(createdAtMs / 1000)), creationTimeMs: String(createdAtMs), turnPassword: 'TURN-PASSWORD' },
    ...(participant === undefined ? {} : { participant: { sid: `PA_${participant}`, identity: participant } }),
    createdAt: String(Math.floor(createdAtMs / 1000)),
  };
}
