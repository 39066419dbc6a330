import { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { Endpoint } from '../clients/redis.ts';
import { openSentinelControl } from '../clients/sentinel-control.ts';
import type { SentinelControlOptions } from '../clients/sentinel-control.ts';
import type { EndConnections } from './dead-sockets.ts';
import { readIfThere, writeAtomically } from './state-file.ts';
import { startTicker } from './ticker.ts';

/** What was announced while nobody listened is found this late. */
const PERIOD_MS = 1_000;
const RETRY_MS = 200;
const TIMEOUT_MS = 1_000;

export interface PrimaryWatchOptions {
  /** This machine's. */
  readonly sentinel: SentinelControlOptions;
  /** This machine's address, as Sentinel names it. */
  readonly own: string;
  readonly endConnections: EndConnections;
  /** Remembers the primary, so that one that was replaced while the agent was away is noticed too. */
  readonly path: string;
  readonly log: Logger;
}

/** What this machine's Sentinel says, and so its LiveKit believes. */
export interface PrimaryWatch {
  /** True where it names this primary. */
  names(primary: Endpoint | null): boolean;
  stop(): Promise<void>;
}

/**
 * Ends this machine's connections to a Redis primary as soon as Sentinel has replaced it. The one that leads the replacement names the
 * new one when it stands (+promoted-slave), and announces the end (+switch-master) a second later. Where it lost its power, LiveKit would
 * listen to it for minutes, and answer 406 all the while. Where it was this machine's own, which was cut off or is booting, it becomes
 * a replica at once: Sentinel itself (8, sentinelRefreshInstanceInfo) lets it take writes for eight seconds more.
 */
export function startPrimaryWatch(options: PrimaryWatchOptions): PrimaryWatch {
  const { sentinel, own, endConnections, path, log } = options;
  const control = openSentinelControl(sentinel);
  const subscriber = new Redis({
    host: sentinel.host ?? '127.0.0.1',
    port: sentinel.port,
    ...(sentinel.password === '' ? {} : { password: sentinel.password }),
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => RETRY_MS,
  });
  let known: string | null = null;
  let isLoaded = false;
  /** This machine's Redis, until it is known to follow its successor. */
  let replaced: Endpoint | null = null;

  const tick = async (): Promise<void> => {
    if (!isLoaded) known = await readIfThere(path);
    isLoaded = true;
    const view = await control.view();
    if (view === null) return;
    const now = addressOf(view.primary);
    if (now !== known) await change(known === null ? null : endpointOf(known), view.primary);
    if (replaced !== null && (await follow(replaced, view.primary))) log.info({ primary: view.primary }, 'former primary made a replica');
    replaced = null;
  };
  const change = async (former: Endpoint | null, primary: Endpoint): Promise<void> => {
    known = addressOf(primary);
    replaced = former?.host === own ? former : null;
    if (former !== null) {
      log.info({ former, primary }, 'Redis primary replaced');
      await endConnections(former.host, former.port);
    }
    await writeAtomically(path, known);
  };
  /** Makes a primary a replica; false where it is one already. */
  const follow = async ({ host, port }: Endpoint, primary: Endpoint): Promise<boolean> => {
    const { password } = sentinel;
    const limits = { connectTimeout: TIMEOUT_MS, commandTimeout: TIMEOUT_MS, maxRetriesPerRequest: 0, retryStrategy: () => null };
    const redis = new Redis({ host, port, ...(password === '' ? {} : { password }), ...limits });
    // The command's failure tells.
    redis.on('error', () => undefined);
    try {
      if ((await redis.role())[0] !== 'master') return false;
      await redis.replicaof(primary.host, primary.port);
      // Where its file cannot be written it is told anew after its next start.
      await redis.config('REWRITE').catch((error: unknown) => log.warn({ err: error }, 'replica’s file not written'));
      return true;
    } finally {
      redis.disconnect();
    }
  };
  // Sentinel may be starting.
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.debug({ err: error }, 'primary not known'));
  // `tick` reports what is wrong.
  subscriber.on('error', () => undefined);
  subscriber.on('ready', () => {
    subscriber.subscribe('+switch-master', '+promoted-slave').then(
      () => ticker.poke(),
      (error: unknown) => log.debug({ err: error }, 'not subscribed; the period serves'),
    );
  });
  subscriber.on('message', () => ticker.poke());
  return {
    names: (primary) => primary !== null && addressOf(primary) === known,
    async stop() {
      subscriber.disconnect();
      await ticker.stop();
      control.close();
    },
  };
}

function addressOf({ host, port }: Endpoint): string {
  return `${host} ${port}\n`;
}

function endpointOf(text: string): Endpoint {
  const [host = '', port = ''] = text.trim().split(' ');
  return { host, port: Number(port) };
}
