import type { Redis } from 'ioredis';
import { DRAINING_KEY, NODES_KEY, parseNodeRecords } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { FleetError } from '../kernel/errors.ts';

/** Where a fleet's Sentinel is asked. */
export interface FleetAddress {
  readonly host: string;
  readonly sentinelPort: number;
  readonly masterName: string;
  /** Null: ask without showing one. */
  readonly password: string | null;
}

/** The fleet as one machine sees it. */
export interface FleetView {
  readonly kind: 'member';
  readonly primary: { readonly host: string; readonly port: number };
  /** As this Sentinel has it. */
  readonly quorum: number;
  /** Sentinels, this one included, and replicas, whether up or not. */
  readonly sentinels: number;
  readonly replicas: number;
  /** Those of the replicas that may become the primary. */
  readonly healthyReplicas: number;
  /** The primary's word; null where it does not answer. */
  readonly registry: { readonly records: readonly NodeRecord[]; readonly draining: readonly string[]; /** Redis TIME. */ readonly nowMs: number } | null;
}

/** What one machine says of the fleet that it belongs to. */
export type FleetWord =
  | FleetView
  /** It answers, but the password is another one. */
  | { readonly kind: 'refused' }
  /** What answers is no Sentinel of a fleet of this product. */
  | { readonly kind: 'foreign'; readonly reason: string }
  | { readonly kind: 'unreachable'; readonly reason: string };

/** Two machines of one network answer within milliseconds; a packet may be lost once. */
const TIMEOUT_MS = 2_000;

/** Names of ioredis's errors for what the server answered, and for what is no Redis protocol at all. */
const REPLIES = new Set(['ReplyError', 'ParserError']);

/** Asks the Sentinel at an address, and the Redis primary that it names. Throws nothing. */
export function askFleet({ host, sentinelPort, masterName, password }: FleetAddress): Promise<FleetWord> {
  return withConnection<FleetView>({ host, port: sentinelPort, password }, async (sentinel) => {
    const [found, copies] = await Promise.all([sentinel.call('SENTINEL', 'MASTER', masterName), sentinel.call('SENTINEL', 'REPLICAS', masterName)]);
    const fields = words(found);
    const replicas = Array.isArray(copies) ? copies.map(words) : [];
    const primary = { host: field(fields, 'ip'), port: Number(field(fields, 'port')) };
    const counts = {
      quorum: Number(field(fields, 'quorum')),
      sentinels: Number(field(fields, 'num-other-sentinels')) + 1,
      replicas: replicas.length,
      healthyReplicas: replicas.filter((row) => field(row, 'flags') === 'slave' && field(row, 'master-link-status') === 'ok').length,
    };
    const read = await withConnection({ ...primary, password }, readRegistry);
    return { kind: 'member', primary, ...counts, registry: 'kind' in read ? null : read };
  });
}

async function readRegistry(redis: Redis): Promise<NonNullable<FleetView['registry']>> {
  const [fields, draining, [seconds, microseconds]] = await Promise.all([redis.hgetall(NODES_KEY), redis.smembers(DRAINING_KEY), redis.time()]);
  return { records: parseNodeRecords(fields), draining, nowMs: Number(seconds) * 1000 + Number(microseconds) / 1000 };
}

/**
 * Sends commands one after the other to one Redis or Sentinel, and gives their replies.
 * @throws FleetError REDIS_REFUSED where it does not answer or refuses one
 */
export async function sendCommands(
  address: { host: string; port: number; password: string },
  commands: ReadonlyArray<readonly [string, ...string[]]>,
): Promise<unknown[]> {
  const done = await withConnection(address, async (redis) => {
    const replies: unknown[] = [];
    for (const [name, ...rest] of commands) replies.push(await redis.call(name, ...rest));
    return { kind: 'done', replies } as const;
  });
  if (done.kind === 'done') return done.replies;
  const reason = 'reason' in done ? done.reason : 'WRONGPASS';
  throw new FleetError('REDIS_REFUSED', { address: `${address.host}:${address.port}`, reason });
}

/**
 * How long ago, in milliseconds, the Sentinel at `host` last had a good answer from Redis and from the Sentinel at `about`, whichever
 * is longer; null where it does not know them, holds one for down, or cannot be asked. Throws nothing.
 */
export async function askView(options: { host: string; sentinelPort: number; masterName: string; password: string; about: string }): Promise<number | null> {
  const { host, sentinelPort, masterName, password, about } = options;
  let heardMs: number | null = null;
  await withConnection({ host, port: sentinelPort, password }, async (sentinel) => {
    const tables = await Promise.all(['REPLICAS', 'SENTINELS'].map((name) => sentinel.call('SENTINEL', name, masterName)));
    const rows = [await sentinel.call('SENTINEL', 'MASTER', masterName), ...tables.flat()].map(words);
    const own = rows.filter((row) => field(row, 'ip') === about);
    if (own.length === 2 && own.every((row) => !/down|disconnected/.test(field(row, 'flags'))))
      heardMs = Math.max(...own.map((row) => Number(field(row, 'last-ok-ping-reply'))));
    return null;
  });
  return heardMs;
}

/**
 * Whether the Sentinel at an address reaches enough of the others to choose a primary with them: whoever does not may be in the smaller
 * part of a network that is cut. Null where it cannot be asked. Throws nothing.
 */
export async function hasMajority({ host, sentinelPort, masterName, password }: FleetAddress): Promise<boolean | null> {
  const word = await withConnection({ host, port: sentinelPort, password }, async (sentinel) => {
    await sentinel.call('SENTINEL', 'CKQUORUM', masterName);
    return { kind: 'majority' } as const;
  });
  return word.kind === 'majority' ? true : word.kind === 'foreign' ? false : null;
}

function words(row: unknown): string[] {
  return Array.isArray(row) ? row.map(String) : [];
}

/** A field of what Sentinel says of an instance: names and values in turn. */
function field(row: readonly string[], name: string): string {
  return row[row.indexOf(name) + 1] ?? '';
}

async function withConnection<T>(
  address: { host: string; port: number; password: string | null },
  work: (redis: Redis) => Promise<T>,
): Promise<T | Exclude<FleetWord, FleetView>> {
  const { host, port, password } = address;
  // Most commands need no Redis client, which takes its time to load.
  const { Redis: Client } = await import('ioredis');
  const redis = new Client({
    host,
    port,
    ...(password === null ? {} : { password }),
    lazyConnect: true,
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
  });
  let problem: unknown = null;
  redis.on('error', (error) => {
    problem = error;
  });
  try {
    await redis.connect();
    return await work(redis);
  } catch (error) {
    const cause = problem ?? error;
    if (!(cause instanceof Error)) return { kind: 'unreachable', reason: String(cause) };
    if (!REPLIES.has(cause.name)) return { kind: 'unreachable', reason: 'code' in cause ? String(cause.code) : cause.message };
    return /^(WRONGPASS|NOAUTH)/.test(cause.message) ? { kind: 'refused' } : { kind: 'foreign', reason: cause.message };
  } finally {
    redis.disconnect();
  }
}
