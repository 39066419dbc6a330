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

export interface PrimaryWatchOptions {
  /** This machine's. */
  readonly sentinel: SentinelControlOptions;
  readonly endConnections: EndConnections;
  /** Remembers the primary, so that one that was replaced while the agent was away is noticed too. */
  readonly path: string;
  readonly log: Logger;
}

/** What this machine's Sentinel says, and so its LiveKit believes. */
export interface PrimaryWatch {
  /** True where it names this primary. The Sentinel that leads a replacement is the last to, by a second. */
  names(primary: Endpoint | null): boolean;
  stop(): Promise<void>;
}

/**
 * Ends this machine's connections to a Redis primary as soon as Sentinel has replaced it. Where it lost its power, LiveKit would
 * listen to it for minutes, and answer 406 all the while.
 */
export function startPrimaryWatch(options: PrimaryWatchOptions): PrimaryWatch {
  const { sentinel, endConnections, path, log } = options;
  const control = openSentinelControl(sentinel);
  const subscriber = new Redis({
    host: '127.0.0.1',
    port: sentinel.port,
    ...(sentinel.password === '' ? {} : { password: sentinel.password }),
    enableReadyCheck: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => RETRY_MS,
  });
  let known: string | null = null;
  let isLoaded = false;

  const tick = async (): Promise<void> => {
    if (!isLoaded) known = await readIfThere(path);
    isLoaded = true;
    const view = await control.view();
    if (view === null) return;
    const now = addressOf(view.primary);
    if (now === known) return;
    const former = known === null ? null : endpointOf(known);
    known = now;
    if (former !== null) {
      log.info({ former, primary: view.primary }, 'Redis primary replaced');
      await endConnections(former.host, former.port);
    }
    await writeAtomically(path, now);
  };
  // Sentinel may be starting.
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.debug({ err: error }, 'primary not known'));
  // `tick` reports what is wrong.
  subscriber.on('error', () => undefined);
  subscriber.on('ready', () => {
    subscriber.subscribe('+switch-master').then(
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
