import type { Redis } from 'ioredis';
import { openRedis, refusedBy } from '../clients/open-redis.ts';
import type { Endpoint } from '../clients/redis.ts';
import { FleetError } from '../kernel/errors.ts';
import { HISTORY, NAMES, PATTERN, PREFIXES, dropMoment } from './moment.ts';

/** Beside the database that everybody uses: what is to take its place, and after that what stood there. */
const BESIDE = 1;
/** A key there, which says whose it is: `loading` is what was never in use, `former` what stood before. */
const MARK = 'livekit-fleet:restore';
/** Keys of one MIGRATE: some hundred kilobytes mostly. */
const BATCH = 500;
/** For one batch on a private network, even with values of megabytes. */
const MIGRATE_MS = 60_000;
/** Replicas of a private network are milliseconds behind. */
const REPLICAS_MS = 10_000;

/**
 * Each script is one transaction, for replicas and the append-only file as well: nobody ever sees half of it, and nothing of somebody
 * else's is touched. KEYS: the mark, a pattern that finds what is of the moment, its names. ARGV: our mark's end, its prefixes.
 */
const PRELUDE = `
redis.call('SELECT', ${BESIDE})
local mark = redis.call('GET', KEYS[1])
local loading, former = 'loading ' .. ARGV[1], 'former ' .. ARGV[1]
local function flush()
  redis.call('SELECT', ${BESIDE})
  redis.call('FLUSHDB', 'ASYNC')
end
-- What is of the moment stays where it is in use. Done twice, everything else is as it was.
local function exchange()
  redis.call('SELECT', 0)
  local names = {}
  for at = 3, #KEYS do names[KEYS[at]] = true end
  for _, key in ipairs(redis.call('KEYS', KEYS[2])) do
    local isOfTheMoment = names[key]
    for at = 2, #ARGV do isOfTheMoment = isOfTheMoment or key:sub(1, #ARGV[at]) == ARGV[at] end
    if isOfTheMoment and redis.call('MOVE', key, ${BESIDE}) == 0 then
      redis.call('SELECT', ${BESIDE})
      redis.call('DEL', key)
      redis.call('SELECT', 0)
      redis.call('MOVE', key, ${BESIDE})
    end
  end
  redis.call('SWAPDB', 0, ${BESIDE})
end
`;
/** Gives the mark of the restore whose it is, or how many keys of somebody else's there are; nothing where it is ours now. */
const CLAIM = `${PRELUDE}
if mark and mark:sub(1, 8) == 'loading ' then flush()
elseif mark then return mark
elseif redis.call('DBSIZE') > 0 then return redis.call('DBSIZE') end
redis.call('SET', KEYS[1], loading)
return false`;
const BEGIN = `${PRELUDE}
if mark ~= loading then return redis.error_reply('ERR what was loaded is gone') end
redis.call('DEL', KEYS[1])
redis.call('SELECT', 0)
redis.call('SET', KEYS[1], former)
exchange()`;
const UNDO = `${PRELUDE}
if mark == former then
  exchange()
  redis.call('SELECT', 0)
  redis.call('DEL', KEYS[1])
  flush()
elseif mark == loading then flush() end`;
const END = `${PRELUDE}
if mark == former or mark == loading then flush() end`;
const FORGET = `${PRELUDE}
if mark and mark:sub(-#ARGV[1] - 1) == ' ' .. ARGV[1] then flush() end`;

/** Control of the fleet's Redis primary during one restore. Each act may be repeated after one that was killed. */
export interface Exchange {
  /** Takes the place beside the data that are in use. @throws FleetError RESTORE_ELSEWHERE, REDIS_BESIDE_TAKEN, REDIS_REFUSED */
  claim(): Promise<void>;
  /** Puts an archive's data there. @throws FleetError REDIS_REFUSED; the signal's reason */
  load(scratch: Redis, options: { signal: AbortSignal; onProgress: (percent: number) => void }): Promise<void>;
  /** Puts them in use; what was in use is beside them then. Waits until a replica has it, where there are any. @throws FleetError REDIS_REFUSED */
  begin(replicas: number): Promise<void>;
  /** Whether they are in use on this primary: it may be another one than the one that was told. */
  stands(): Promise<boolean>;
  /** Puts back what stood before this restore, where that is beside what is in use; else lets go of what was loaded. */
  undo(): Promise<void>;
  /** Lets go of what is not in use. */
  end(): Promise<void>;
  close(): void;
}

/** Connects to the primary. @param of the restore, and the machine whose it is @throws FleetError REDIS_REFUSED */
export async function openExchange(primary: Endpoint & { password: string }, of: { id: string; machine: string }): Promise<Exchange> {
  const address = `${primary.host}:${primary.port}`;
  const redis = await openRedis(primary);
  const own = `${of.id} ${of.machine}`;
  const refused = (reason: unknown): FleetError => refusedBy(primary, reason);
  const refuse = (error: unknown): Promise<never> => Promise.reject(refused(error));
  const run = (script: string): Promise<unknown> => runScript(redis, script, own).catch(refuse);
  const beside = async <T>(work: () => Promise<T>): Promise<T> => {
    await redis.select(BESIDE);
    try {
      return await work();
    } finally {
      await redis.select(0);
    }
  };
  const markBeside = (): Promise<string | null> => beside(() => redis.get(MARK)).catch(refuse);

  async function carry(scratch: Redis, { signal, onProgress }: Parameters<Exchange['load']>[1]): Promise<void> {
    await dropBeside(scratch);
    await dropMoment(scratch);
    // What was done on the fleet since then was done.
    if ((await redis.exists(HISTORY)) === 1) await scratch.del(HISTORY);
    const total = await scratch.dbsize();
    let done = 0;
    for (let cursor: string | null = '0'; cursor !== null;) {
      signal.throwIfAborted();
      // Another machine that took this restore for dead may have the place now.
      if ((await markBeside()) !== `loading ${own}`) throw new Error('another restore has begun');
      const [next, keys]: [string, string[]] = await scratch.scan(cursor, 'COUNT', BATCH);
      const words = [primary.host, String(primary.port), '', String(BESIDE), String(MIGRATE_MS), 'COPY', 'REPLACE', 'AUTH', primary.password, 'KEYS', ...keys];
      if (keys.length > 0) await scratch.call('MIGRATE', ...words);
      done += keys.length;
      onProgress(Math.min(100, Math.floor((done / Math.max(1, total)) * 100)));
      cursor = next === '0' ? null : next;
    }
    // Beside the mark.
    const [here, there] = [await scratch.dbsize(), (await beside(() => redis.dbsize())) - 1];
    if (there < here || there > total) throw new Error(`${there} keys arrived instead of ${here}`);
  }

  return {
    async claim() {
      const found = await run(CLAIM);
      if (typeof found === 'number') throw new FleetError('REDIS_BESIDE_TAKEN', { address, keys: found });
      if (typeof found === 'string') throw new FleetError('RESTORE_ELSEWHERE', { machine: found.split(' ')[2] ?? '', address });
    },
    async load(scratch, options) {
      try {
        await carry(scratch, options);
      } catch (error) {
        throw options.signal.aborted ? options.signal.reason : error instanceof FleetError ? error : refused(error);
      }
    },
    async begin(replicas) {
      await run(BEGIN);
      // Should the primary be lost now, Sentinel chooses one that has it.
      const followers = await redis.wait(Math.min(1, replicas), REPLICAS_MS).catch(refuse);
      if (followers < Math.min(1, replicas)) throw refused(`no replica followed within ${REPLICAS_MS} ms`);
    },
    stands: async () => (await markBeside()) === `former ${own}`,
    undo: async () => void (await run(UNDO)),
    end: async () => void (await run(END)),
    close: () => redis.disconnect(),
  };
}

/** Lets go of what a machine that will not come back has left beside the data in use. @throws FleetError REDIS_REFUSED */
export async function letGoOf(machine: string, primary: Endpoint & { password: string }): Promise<void> {
  const redis = await openRedis(primary);
  try {
    await runScript(redis, FORGET, machine);
  } finally {
    redis.disconnect();
  }
}

function runScript(redis: Redis, script: string, own: string): Promise<unknown> {
  return redis.eval(script, 2 + NAMES.length, MARK, PATTERN, ...NAMES, own, ...PREFIXES);
}

/** Removes from data that were taken while a restore went on what stood beside them. */
export async function dropBeside(redis: Redis): Promise<void> {
  await redis.select(BESIDE);
  if ((await redis.exists(MARK)) === 1) await redis.flushdb();
  await redis.select(0);
}
