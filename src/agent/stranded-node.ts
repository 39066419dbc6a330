import type { Logger } from 'pino';
import { askView } from '../clients/sentinel.ts';
import type { SentinelControl } from '../clients/sentinel-control.ts';
import { startTicker } from './ticker.ts';
import type { VanishedNodes } from './vanished-nodes.ts';

const PERIOD_MS = 500;
/** The others take the rooms over when LiveKit has not written for 4.3 s; it writes every 2 s. */
const SPEECHLESS_MS = 2_000;

export interface StrandedNodeOptions {
  /** This machine's address. */
  readonly own: string;
  /** This machine's Sentinel. */
  readonly sentinel: SentinelControl;
  readonly masterName: string;
  readonly password: string;
  readonly seen: Pick<VanishedNodes, 'speechlessMs' | 'missedMs'>;
  /** Ends LiveKit at once; its supervisor starts it again. */
  readonly kill: () => Promise<void>;
  readonly log: Logger;
}

/**
 * Ends this machine's LiveKit where it alone has lost its way to the Redis primary, which others reach: it cannot tell anybody of its
 * rooms, nobody can come into them, and the others take them over (see startVanishedNodes), so that they would go on in two halves.
 * While the primary is lost to all, nothing is done: they wait for the next one. Gives a function that ends it.
 */
export function startStrandedNode(options: StrandedNodeOptions): () => Promise<void> {
  const { own, sentinel, masterName, password, seen, log } = options;
  let isEnded = false;

  const tick = async (): Promise<void> => {
    if (seen.speechlessMs() < SPEECHLESS_MS) isEnded = false;
    else if (!isEnded && (await isStranded())) {
      isEnded = true;
      log.warn('this machine alone has lost its way to the Redis primary: LiveKit is started anew');
      await options.kill();
    }
  };
  const isStranded = async (): Promise<boolean> => {
    const view = await sentinel.view();
    if (view === null || view.primary.host === own) return false;
    const about = view.primary.host;
    const missedMs = seen.missedMs(about);
    if (missedMs === 0) return false;
    const others = await sentinel.others();
    const heard = await Promise.all(others.map(({ host, port }) => askView({ host, sentinelPort: port, masterName, password, about })));
    // Of the time before this machine missed the primary, an answer says nothing.
    return heard.some((agoMs) => agoMs !== null && agoMs < missedMs);
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.debug({ err: error }, 'not known whether this machine is stranded'));
  return async () => {
    await ticker.stop();
    sentinel.close();
  };
}
