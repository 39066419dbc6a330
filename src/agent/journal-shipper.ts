import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { JOURNAL_KEY, JOURNAL_LINES, parseJournal } from '../contract/journal.ts';
import { readIfThere } from './state-file.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 5_000;

/**
 * Tells the fleet what was done on this machine: the journal's last lines go to Redis, whenever they or the connection are new. A
 * line that is there already stays as it is. Gives a function that ends it. @param options.path this machine's journal
 */
export function startJournalShipper(options: { redis: Redis; path: string; log: Logger }): () => Promise<void> {
  const { redis, path, log } = options;
  let shipped: string | null = null;
  const tick = async (): Promise<void> => {
    const text = redis.status === 'ready' ? await readIfThere(path) : null;
    if (text === null || text === shipped) return;
    const entries = parseJournal(text).slice(-JOURNAL_LINES);
    if (entries.length > 0) {
      await redis.zadd(JOURNAL_KEY, ...entries.flatMap((entry) => [entry.atMs + (entry.ended?.ms ?? 0), JSON.stringify(entry)]));
      await redis.zremrangebyrank(JOURNAL_KEY, 0, -JOURNAL_LINES - 1);
    }
    shipped = text;
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'journal not shipped'));
  redis.on('ready', () => {
    // Another primary may not have the last lines, or any.
    shipped = null;
    ticker.poke();
  });
  return () => ticker.stop();
}
