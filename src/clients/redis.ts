import { Redis, SentinelConnector, SentinelIterator } from 'ioredis';
import type { RedisOptions, SentinelAddress, SentinelConnectionOptions } from 'ioredis';

/** Where a program listens. */
export interface Endpoint {
  readonly host: string;
  readonly port: number;
}

/** Where the fleet's Redis is: through Sentinel, or directly where there is none. */
export interface FleetRedisConfig {
  readonly sentinels: readonly Endpoint[];
  readonly masterName: string;
  /** Of Redis and of the Sentinels. */
  readonly password: string;
  readonly direct: Endpoint | null;
}

/** What a caller wants to hear of the connection; `onChange` reports each change of its usability once. */
export interface FleetRedisOptions {
  readonly onChange?: (isReady: boolean, reason: string) => void;
  /** For a connection that only listens: it is asked for signs of life, without which nobody would notice that the other side is gone. */
  readonly isSubscriber?: boolean;
  /** Sentinels beyond the configured ones, as known when it connects. */
  readonly moreSentinels?: () => readonly Endpoint[];
}

type ConnectionOptions = Omit<RedisOptions, 'replyMapping'>;

/** Longest pause between two attempts: a fleet must notice a returned Redis at once. */
const MAX_RETRY_MS = 300;
/** A command on a healthy private network takes a millisecond. */
const COMMAND_TIMEOUT_MS = 1_000;
/** Shorter: while a primary is being replaced the way leads to the lost one some times, and each time counts. */
const CONNECT_TIMEOUT_MS = 500;
const REVIVAL_MS = 50;
/** A connection that is given up ends with a word to the other side; one that vanished never answers it. */
const FAREWELL_MS = 50;
/** Silence after which a connection with commands on it is taken for dead: a machine that lost its power sends no RST. */
const SOCKET_TIMEOUT_MS = 3_000;

/**
 * Connects to the fleet's Redis primary and keeps at it for ever. Never throws and never ends the process: while Redis
 * is away, commands reject at once or after a second. A failover moves the connection to the new primary.
 */
export function connectFleetRedis(config: FleetRedisConfig, options: FleetRedisOptions = {}): Redis {
  const settings: ConnectionOptions = {
    ...addressOf(config, options.moreSentinels ?? (() => [])),
    ...(config.password === '' ? {} : { password: config.password }),
    retryStrategy: retryMs,
    // One that is loading its data says how long it still takes, which is a guess: up to ten seconds would be waited for nothing.
    maxLoadingRetryTime: MAX_RETRY_MS,
    connectTimeout: CONNECT_TIMEOUT_MS,
    commandTimeout: COMMAND_TIMEOUT_MS,
    socketTimeout: SOCKET_TIMEOUT_MS,
    disconnectTimeout: FAREWELL_MS,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    maxRetriesPerRequest: 0,
    // A connection that was left on a demoted primary answers READONLY: go and find the new one.
    reconnectOnError: (error) => error.message.startsWith('READONLY'),
  };
  const redis = new LastingRedis(settings);
  reportChanges(redis, options.onChange ?? (() => undefined));
  if (options.isSubscriber === true) keepAsking(redis);
  return redis;
}

/**
 * Ends only where it is told to. ioredis gives up for ever when a replaced primary is announced while it is asking where the
 * primary is: the announcement ends the attempt, and an attempt that is ended is not made again (Redis.connect, SentinelConnector).
 */
class LastingRedis extends Redis {
  #isOver = false;

  constructor(settings: ConnectionOptions) {
    super(settings);
    this.on('end', () => {
      // What is wrong comes as an error event too.
      if (!this.#isOver) setTimeout(() => void (this.#isOver || this.status !== 'end' || this.connect().catch(() => undefined)), REVIVAL_MS);
    });
  }

  get isOver(): boolean {
    return this.#isOver;
  }

  override disconnect(reconnect = false): void {
    if (!reconnect) this.#isOver = true;
    super.disconnect(reconnect);
  }
}

/** A command every few seconds, whose answer fails to come where the other side is gone: `socketTimeout` ends the connection then. */
function keepAsking(redis: LastingRedis): void {
  const ask = (): void => {
    if (redis.status === 'ready') redis.ping().catch(() => undefined);
  };
  const timer = setInterval(ask, SOCKET_TIMEOUT_MS);
  redis.on('end', () => {
    if (redis.isOver) clearInterval(timer);
  });
}

function retryMs(attempt: number): number {
  return Math.min(attempt * 100, MAX_RETRY_MS);
}

function addressOf(config: FleetRedisConfig, moreSentinels: () => readonly Endpoint[]): ConnectionOptions {
  if (config.sentinels.length === 0) return config.direct === null ? {} : { host: config.direct.host, port: config.direct.port };
  return {
    sentinels: config.sentinels.map(({ host, port }) => ({ host, port })),
    name: config.masterName,
    ...(config.password === '' ? {} : { sentinelPassword: config.password }),
    sentinelRetryStrategy: retryMs,
    // Goes on listening to a Sentinel that was started anew.
    sentinelReconnectStrategy: retryMs,
    sentinelCommandTimeout: COMMAND_TIMEOUT_MS,
    // Listens to the Sentinels and leaves a replaced primary, also where it vanished without a word.
    failoverDetector: true,
    Connector: connectorWith(moreSentinels),
  };
}

/**
 * ioredis's own, which learns of other Sentinels only from one that answers: those that are named here may be asked as well. The one on
 * the machine that was lost is asked last: while nobody answers there, each attempt takes its time.
 */
function connectorWith(moreSentinels: () => readonly Endpoint[]): NonNullable<RedisOptions['Connector']> {
  return class extends SentinelConnector {
    constructor(options: unknown) {
      // ioredis hands its own options over, and declares them as unknown.
      super(options as SentinelConnectionOptions);
    }
    #lost: string | undefined;
    override async connect(...words: Parameters<SentinelConnector['connect']>): ReturnType<SentinelConnector['connect']> {
      for (const { host, port } of moreSentinels()) this.sentinelIterator.add({ host, port });
      const known = [...endpointsOf(this.sentinelIterator)];
      this.sentinelIterator = new SentinelIterator(known.toSorted((a, b) => Number(a.host === this.#lost) - Number(b.host === this.#lost)));
      const stream = await super.connect(...words);
      stream.once('connect', () => {
        this.#lost = 'remoteAddress' in stream ? stream.remoteAddress : undefined;
      });
      return stream;
    }
  };
}

/** From the first on, which are all. */
function* endpointsOf(iterator: SentinelIterator): Generator<Partial<SentinelAddress>> {
  iterator.reset(false);
  for (let next = iterator.next(); next.done !== true; next = iterator.next()) yield next.value;
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

/** Where the connection that found the primary leads; null where there is none. */
export function primaryOf(redis: Redis): Endpoint | null {
  const { stream } = redis;
  if (redis.status !== 'ready' || !('remoteAddress' in stream)) return null;
  const { remoteAddress: host, remotePort: port } = stream;
  return host === undefined || port === undefined ? null : { host, port };
}
