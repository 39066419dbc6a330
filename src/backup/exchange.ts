import type { Redis } from 'ioredis';
import type { Endpoint } from '../clients/redis.ts';
import { FleetError } from '../kernel/errors.ts';
import { HISTORY, NAMES, PATTERN, PREFIXES, dropMoment } from './moment.ts';

/** Beside the database that everybody uses: what is to take its place, and after that what stood there. */
const BESIDE = 1;
/** Keys of one MIGRATE: some hundred kilobytes mostly. */
const BATCH = 500;
/** For one batch on a private network, even with values of megabytes. */
const MIGRATE_MS = 60_000;
/** Replicas of a private network are milliseconds behind. */
const REPLICAS_MS = 10_000;

/**
 * Moves what is of the moment over to the other database and exchanges the two, in one act: nobody ever sees half of it, and replicas
 * and the append-only file get it as one transaction. Done twice, everything is as it was, but what is of the moment stays of the moment.
 */
const EXCHANGE = `
local names = {}
for at = 2, #KEYS do names[KEYS[at]] = true end
for _, key in ipairs(redis.call('KEYS', KEYS[1])) do
  local isOfTheMoment = names[key]
  for _, prefix in ipairs(ARGV) do isOfTheMoment = isOfTheMoment or key:sub(1, #prefix) == prefix end
  if isOfTheMoment then redis.call('MOVE', key, ${BESIDE}) end
end
return redis.call('SWAPDB', 0, ${BESIDE})`;

/** Control of the fleet's Redis primary during a restore. */
export interface Exchange {
  /** Puts an archive's data beside the ones in use. Repeats what an earlier run may have begun. @throws FleetError REDIS_REFUSED; the signal's reason */
  load(scratch: Redis, options: { signal: AbortSignal; onProgress: (percent: number) => void }): Promise<void>;
  /** Puts them in use; what was in use is beside them then. Waits until so many replicas have it. */
  begin(id: string, replicas: number): Promise<void>;
  /** Puts back what stood before the restore of this id, where it is beside what is in use. */
  undo(id: string): Promise<void>;
  /** Lets go of what is not in use. */
  end(): Promise<void>;
  close(): void;
}

/** Connects to the primary. @throws FleetError REDIS_REFUSED */
export async function openExchange(primary: Endpoint & { password: string }): Promise<Exchange> {
  const address = `${primary.host}:${primary.port}`;
  const { Redis: Client } = await import('ioredis');
  const redis = new Client({ ...primary, lazyConnect: true, connectTimeout: 5_000, maxRetriesPerRequest: 0, retryStrategy: () => null });
  redis.on('error', () => undefined);
  const refused = (error: unknown): FleetError =>
    new FleetError('REDIS_REFUSED', { address, reason: error instanceof Error ? error.message : String(error) }, { cause: error });
  await redis.connect().catch((error: unknown) => Promise.reject(refused(error)));
  const beside = async <T>(work: () => Promise<T>): Promise<T> => {
    await redis.select(BESIDE);
    try {
      return await work();
    } finally {
      await redis.select(0);
    }
  };
  const exchange = (): Promise<unknown> => redis.eval(EXCHANGE, 1 + NAMES.length, PATTERN, ...NAMES, ...PREFIXES);

  return {
    async load(scratch, { signal, onProgress }) {
      try {
        await beside(() => redis.flushdb('ASYNC'));
        await dropMoment(scratch);
        // What was done on the fleet since then was done.
        if ((await redis.exists(HISTORY)) === 1) await scratch.del(HISTORY);
        const total = await scratch.dbsize();
        let done = 0;
        for (let cursor: string | null = '0'; cursor !== null;) {
          signal.throwIfAborted();
          const [next, keys]: [string, string[]] = await scratch.scan(cursor, 'COUNT', BATCH);
          const words = [
            primary.host,
            String(primary.port),
            '',
            String(BESIDE),
            String(MIGRATE_MS),
            'COPY',
            'REPLACE',
            'AUTH',
            primary.password,
            'KEYS',
            ...keys,
          ];
          if (keys.length > 0) await scratch.call('MIGRATE', ...words);
          done += keys.length;
          onProgress(Math.min(100, Math.floor((done / Math.max(1, total)) * 100)));
          cursor = next === '0' ? null : next;
        }
        const [here, there] = [await scratch.dbsize(), await beside(() => redis.dbsize())];
        if (there < here) throw new Error(`${there} of ${here} keys arrived`);
      } catch (error) {
        await beside(() => redis.flushdb('ASYNC')).catch(() => undefined);
        throw signal.aborted ? signal.reason : refused(error);
      }
    },
    async begin(id, replicas) {
      await redis.set(markOf(id), '1');
      await exchange().catch((error: unknown) => Promise.reject(refused(error)));
      await redis.wait(replicas, REPLICAS_MS);
    },
    async undo(id) {
      if (await beside(async () => (await redis.exists(markOf(id))) === 1)) await exchange();
      await redis.del(markOf(id));
      await beside(() => redis.flushdb('ASYNC'));
    },
    end: async () => void (await beside(() => redis.flushdb('ASYNC'))),
    close: () => redis.disconnect(),
  };
}

/** A key among the data that stood before a restore. */
function markOf(id: string): string {
  return `before-restore:${id}`;
}
