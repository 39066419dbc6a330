import type { Redis } from 'ioredis';
import { JOURNAL_KEY } from '../contract/journal.ts';
import { LIVEKIT_NODES_KEY, ROOMS_KEY, ROOM_NODE_KEY } from '../contract/livekit-records.ts';

/**
 * What tells of the moment, and must not come back from the dead: which LiveKit nodes and rooms there are, who is in them, who holds a
 * lock (redisstore.go and redisrouter.go of livekit-server), and the fleet's own heart-beats, orders, votes and fences.
 */
export const NAMES = [LIVEKIT_NODES_KEY, ROOM_NODE_KEY, ROOMS_KEY, 'room_internal'];
export const PREFIXES = ['room_participants:', 'room_lock:', 'agent_dispatch:', 'agent_job:', '{ingress}_state:', 'fleet:'];
/** Finds all of them, and few others, in one pass over a million keys: some hundredths of a second. */
export const PATTERN = `[${[...new Set([...NAMES, ...PREFIXES].map((word) => word[0]))].join('')}]*`;
/** Of the fleet's, the one that is a record of the past. */
export const HISTORY = JOURNAL_KEY;

/** Keys of this Redis that are of the moment. */
export async function momentKeys(redis: Redis): Promise<string[]> {
  const found = await redis.keys(PATTERN);
  return found.filter((key) => key !== HISTORY && (NAMES.includes(key) || PREFIXES.some((prefix) => key.startsWith(prefix))));
}

/** Removes what was of the moment when the data were taken. */
export async function dropMoment(redis: Redis): Promise<void> {
  const keys = await momentKeys(redis);
  for (let at = 0; at < keys.length; at += BATCH) await redis.del(...keys.slice(at, at + BATCH));
}

const BATCH = 1_000;

/** Copies what is of the moment now, and the journal, from a Redis that runs: so rooms that go on, go on. */
export async function carryMoment(from: Redis, to: Redis): Promise<void> {
  const keys = [...(await momentKeys(from)), HISTORY];
  for (let at = 0; at < keys.length; at += BATCH) {
    const names = keys.slice(at, at + BATCH);
    const reading = from.pipeline();
    for (const name of names) reading.dumpBuffer(name).pttl(name);
    const found = (await reading.exec()) ?? [];
    const writing = to.pipeline();
    for (const [index, name] of names.entries()) {
      const [value, ttlMs] = [found[2 * index]?.[1], Number(found[2 * index + 1]?.[1])];
      // -1: it does not expire.
      if (value instanceof Buffer) writing.restore(name, Math.max(0, ttlMs), value, 'REPLACE');
    }
    for (const [error] of (await writing.exec()) ?? []) if (error !== null) throw error;
  }
}
