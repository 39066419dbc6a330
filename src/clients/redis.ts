import { Redis } from 'ioredis';
import type { RedisOptions } from 'ioredis';

/** Where the fleet's Redis is: through Sentinel, or directly where there is none. */
export interface FleetRedisConfig {
  readonly sentinels: readonly { readonly host: string; readonly port: number }[];
  readonly masterName: string;
  /** Of Redis and of the Sentinels. */
  readonly password: string;
  readonly direct: { readonly host: string; readonly port: number } | null;
}

/** What a caller wants to hear of the connection; `onChange` reports each change of its usability once. */
export interface FleetRedisOptions {
  readonly onChange?: (isReady: boolean, reason: string) => void;
  /** For a connection that only listens: being silent for long is then no fault. */
  readonly isSubscriber?: boolean;
}

type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>;

/** Longest pause between two attempts: a fleet must notice a returned Redis at once. */
const MAX_RETRY_MS = 1_000;
/** A command on a healthy private network takes a millisecond. */
const COMMAND_TIMEOUT_MS = 1_000;
/** Silence after which a connection with commands on it is taken for dead: a machine that lost its power sends no RST. */
const SOCKET_TIMEOUT_MS = 3_000;

/**
 * Connects to the fleet's Redis primary and keeps at it for ever. Never throws and never ends the process: while Redis
 * is away, commands reject at once or after a second. A failover moves the connection to the new primary.
 */
export function connectFleetRedis(config: FleetRedisConfig, options: FleetRedisOptions = {}): Redis {
  const settings: ConnectionOptions = {
    ...addressOf(config),
    ...(config.password === '' ? {} : { password: config.password }),
    retryStrategy: retryMs,
    connectTimeout: COMMAND_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    ...(options.isSubscriber === true ? {} : { socketTimeout: SOCKET_TIMEOUT_MS }),
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // A connection that was left on a demoted primary answers READONLY: go and find the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  };
  const redis = new Redis(settings);
  reportChanges(redis, options.onChange ?? (() => undefined));
  return redis;
}

function retryMs(attempt: number): number {
  return Math.min(attempt * 100, MAX_RETRY_MS);
}

function addressOf(config: FleetRedisConfig): ConnectionOptions {
  if (config.sentinels.length === 0) return config.direct === null ? {} : { host: config.direct.host, port: config.direct.port };
  return {
    sentinels: config.sentinels.map(({ host, port }) => ({ host, port })),
    name: config.masterName,
    ...(config.password === '' ? {} : { sentinelPassword: config.password }),
    sentinelRetryStrategy: retryMs,
    sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
    // Listens to the Sentinels and leaves a replaced primary, also where it vanished without a word.
    failoverDetector: true,
  };
}

function reportChanges(redis: Redis, onChange: (isReady: boolean, reason: string) => void): void {
  let wasReady: boolean | null = null;
  let reason = '';
  const report = (isReady: boolean): void => {
    if (wasReady === isReady) return;
    wasReady = isReady;
    onChange(isReady, reason);
    reason = '';
  };
  redis.on('ready', () => report(true));
  redis.on('close', () => report(false));
  redis.on('error', (error: Error) => {
    reason = error.message;
    if (redis.status !== 'ready') report(false);
  });
}

/** Redis's own clock in milliseconds: the one clock that all machines share. */
export async function redisTimeMs(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
