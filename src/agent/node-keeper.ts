import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { keepAhead } from './livekit-nodes.ts';
import { startTicker } from './ticker.ts';

/** LiveKit writes every two seconds: in one of twenty moments its entry is not kept yet. */
const PERIOD_MS = 200;

export interface NodeKeeperOptions {
  readonly redis: Redis;
  /** Of this machine's LiveKit; null while none runs. */
  readonly nodeId: () => string | null;
  readonly log: Logger;
}

/** Keeps the entry of this machine's LiveKit good for long enough that its rooms stay while a primary is replaced. Gives a function that ends it. */
export function startNodeKeeper({ redis, nodeId, log }: NodeKeeperOptions): () => Promise<void> {
  const tick = async (): Promise<void> => {
    const id = nodeId();
    if (id !== null && redis.status === 'ready') await keepAhead(redis, id);
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.debug({ err: error }, 'entry not kept'));
  return () => ticker.stop();
}
