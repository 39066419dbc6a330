import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { LIVEKIT_NODES_KEY, readNodeStamps } from '../contract/livekit-records.ts';
import { NODES_KEY, parseNodeRecords } from '../contract/node-record.ts';
import { createStandstill } from './standstill.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 20_000;
/** LiveKit writes its entry every two seconds, and takes one for dead that is five seconds old. */
const STALE_MS = 180_000;
/** Who has not looked for so long had no Redis: nobody could write. */
const GAP_MS = 60_000;

/** Unless somebody has written meanwhile: one that lives. */
const REMOVE = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
return redis.call('HDEL', KEYS[1], ARGV[1])`;

export interface StaleEntriesOptions {
  readonly redis: Redis;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds. */
  readonly monotonicMs: () => number;
  readonly periodMs?: number;
}

/**
 * Removes entries of LiveKit's registry that no machine's record names and nobody has written for three minutes. What an ended node's kernel
 * had still to send may arrive after its entry was removed, and stay for ever. Any agent may do it, several at a time. Gives a function that ends it.
 */
export function startStaleEntries(options: StaleEntriesOptions): () => Promise<void> {
  const { redis, log, monotonicMs, periodMs = PERIOD_MS } = options;
  const stamps = createStandstill(monotonicMs);
  let lookedAtMs = monotonicMs();

  const tick = async (): Promise<void> => {
    if (redis.status !== 'ready') return;
    const [entries, records] = await Promise.all([redis.hgetallBuffer(LIVEKIT_NODES_KEY), redis.hgetall(NODES_KEY)]);
    const named = new Set(parseNodeRecords(records).map((one) => one.nodeId));
    const nameless = Object.entries(entries).filter(([nodeId]) => !named.has(nodeId));
    stamps.keep(monotonicMs() - lookedAtMs > GAP_MS ? [] : nameless.map(([nodeId]) => nodeId));
    lookedAtMs = monotonicMs();
    for (const [nodeId, entry] of nameless) {
      if (stamps.note(nodeId, readNodeStamps(entry)[0] ?? 0) < STALE_MS) continue;
      if ((await redis.eval(REMOVE, 1, LIVEKIT_NODES_KEY, nodeId, entry)) === 1) log.info({ nodeId }, 'stale entry of an ended node removed');
    }
  };
  const ticker = startTicker(periodMs, tick, (error) => log.debug({ err: error }, 'stale entries not looked for'));
  return () => ticker.stop();
}
