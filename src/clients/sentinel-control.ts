import { Redis } from 'ioredis';
import type { Pace } from '../contract/vote.ts';
import type { Endpoint } from './redis.ts';

/** What a Sentinel says of the primary that it watches. */
export interface SentinelView {
  /** To which it leads whoever asks. While it replaces one itself, the new one from the moment that it stands. */
  readonly primary: Endpoint;
  readonly quorum: number;
  /** True while it takes the primary for well and replaces nothing. */
  readonly isCalm: boolean;
  readonly replicas: number;
}

/** Another Sentinel that it knows. */
export interface KnownSentinel extends Endpoint {
  /** Since it last spoke, which each does every 2 s. */
  readonly silentForMs: number;
}

/** Control of one Sentinel. Every method rejects where it does not answer within a second. */
export interface SentinelControl {
  /** Null where it watches nothing. */
  view(): Promise<SentinelView | null>;
  others(): Promise<KnownSentinel[]>;
  setQuorum(quorum: number): Promise<void>;
  /** How often it looks, until it ends; false where it is older than 7.0, and keeps its own times. */
  setPace(pace: Pace): Promise<boolean>;
  /** Begins to watch, and to vote. */
  watch(primary: Endpoint, quorum: number): Promise<void>;
  /** Ends watching and voting; the others know it until they are reset. */
  unwatch(): Promise<void>;
  /** Forgets all replicas and other Sentinels; those that live are found again within seconds. */
  reset(): Promise<void>;
  close(): void;
}

export interface SentinelControlOptions {
  /** Of this machine where it is left out. */
  readonly host?: string;
  readonly port: number;
  readonly masterName: string;
  /** Of this Sentinel and of the Redis that it watches. */
  readonly password: string;
  readonly downAfterMs: number;
  readonly failoverTimeoutMs: number;
}

const TIMEOUT_MS = 1_000;

/** Controls the Sentinel of this machine. Commands: redis.io/docs/latest/operate/oss_and_stack/management/sentinel. */
export function openSentinelControl(options: SentinelControlOptions): SentinelControl {
  const { host = '127.0.0.1', port, masterName, password } = options;
  const redis = new Redis({
    host,
    port,
    ...(password === '' ? {} : { password }),
    connectTimeout: TIMEOUT_MS,
    commandTimeout: TIMEOUT_MS,
    enableReadyCheck: false,
    enableOfflineQueue: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => TIMEOUT_MS,
  });
  // Those who ask hear of it.
  redis.on('error', () => undefined);
  const set = (...words: (string | number)[]): Promise<unknown> => redis.call('SENTINEL', 'SET', masterName, ...words);
  return {
    async view() {
      const [masters, led] = await Promise.all([redis.call('SENTINEL', 'MASTERS'), redis.call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName)]);
      const found = entriesOf(masters).find((entry) => entry.get('name') === masterName);
      if (found === undefined || !Array.isArray(led)) return null;
      return {
        primary: { host: String(led[0]), port: Number(led[1]) },
        quorum: Number(found.get('quorum')),
        isCalm: found.get('flags') === 'master',
        replicas: Number(found.get('num-slaves')),
      };
    },
    async others() {
      const entries = entriesOf(await redis.call('SENTINEL', 'SENTINELS', masterName));
      return entries.map((entry) => ({ ...endpointOf(entry), silentForMs: Number(entry.get('last-hello-message')) }));
    },
    async setQuorum(quorum) {
      await set('quorum', quorum);
    },
    async setPace({ pingMs, infoMs }) {
      try {
        await redis.call('SENTINEL', 'DEBUG', 'ping-period', pingMs, 'info-period', infoMs);
        return true;
      } catch (error) {
        if (error instanceof Error && error.name === 'ReplyError') return false;
        throw error;
      }
    },
    async watch(primary, quorum) {
      await redis.call('SENTINEL', 'MONITOR', masterName, primary.host, primary.port, quorum);
      await set('down-after-milliseconds', options.downAfterMs, 'failover-timeout', options.failoverTimeoutMs);
      if (password !== '') await set('auth-pass', password);
    },
    async unwatch() {
      await redis.call('SENTINEL', 'REMOVE', masterName);
    },
    async reset() {
      await redis.call('SENTINEL', 'RESET', masterName);
    },
    close: () => redis.disconnect(),
  };
}

function endpointOf(entry: ReadonlyMap<string, string>): Endpoint {
  return { host: entry.get('ip') ?? '', port: Number(entry.get('port')) };
}

/** Sentinel's lists of alternating names and values. */
function entriesOf(reply: unknown): ReadonlyMap<string, string>[] {
  const lists = Array.isArray(reply) ? reply.filter((one): one is unknown[] => Array.isArray(one)) : [];
  return lists.map((list) => new Map(list.flatMap((name, index) => (index % 2 === 0 ? [[String(name), String(list[index + 1])] as const] : []))));
}
