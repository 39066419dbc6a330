import type { Redis } from 'ioredis';
import { NODES_KEY, parseNodeRecords } from '../contract/node-record.ts';

/** What one machine says of the fleet that it belongs to. */
export type FleetWord =
  | {
      readonly kind: 'member';
      readonly primary: string;
      /** As this Sentinel has it. */
      readonly quorum: number;
      /** By machine, from the registry; empty where the primary does not answer. */
      readonly keyFingerprints: ReadonlyMap<string, string>;
      /** Redis TIME of the primary; null where it does not answer. */
      readonly timeMs: number | null;
    }
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
export async function askFleet(options: { host: string; sentinelPort: number; masterName: string; password: string }): Promise<FleetWord> {
  const { host, sentinelPort, masterName, password } = options;
  return withConnection({ host, port: sentinelPort, password }, async (sentinel) => {
    const found = await sentinel.call('SENTINEL', 'MASTER', masterName);
    const fields = Array.isArray(found) ? found.map(String) : [];
    const field = (name: string): string => fields[fields.indexOf(name) + 1] ?? '';
    const primary = { host: field('ip'), port: Number(field('port')) };
    const word = { kind: 'member', primary: primary.host, quorum: Number(field('quorum')), keyFingerprints: new Map<string, string>(), timeMs: null } as const;
    return withConnection({ ...primary, password }, async (redis) => {
      const records = parseNodeRecords(await redis.hgetall(NODES_KEY));
      const [seconds, microseconds] = await redis.time();
      return {
        ...word,
        keyFingerprints: new Map(records.map((one) => [one.machine, one.keyFingerprint])),
        timeMs: Number(seconds) * 1000 + Number(microseconds) / 1000,
      };
    }).then((answer) => (answer.kind === 'unreachable' ? word : answer));
  });
}

async function withConnection(address: { host: string; port: number; password: string }, work: (redis: Redis) => Promise<FleetWord>): Promise<FleetWord> {
  const { host, port, password } = address;
  // Most commands need no Redis client, which takes its time to load.
  const { Redis: Client } = await import('ioredis');
  const redis = new Client({
    host,
    port,
    password,
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
