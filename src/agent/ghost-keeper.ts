import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { redisTimeMs } from '../clients/redis-time.ts';
import { GHOSTS_KEY, finishedEvent, ghostEndMs, leftEvents, parseGhost } from '../contract/ghosts.ts';
import type { Ghost } from '../contract/ghosts.ts';
import { ROOMS_KEY, ROOM_NODE_KEY, isAbandoned, participantsKey, readParticipant } from '../contract/livekit-records.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 1_000;
/** Redis string: the machine that looks after the ghosts at present. */
const TURN_KEY = 'fleet:ghost-turn';
/** Longer than a look takes; should its machine be lost meanwhile, another one goes on then. */
const TURN_MS = 10_000;
/** Ghosts that are looked after at a time. */
const BATCH = 200;
/** LiveKit's own lock of a room (pkg/service/redisstore.go), which it takes to make the room again. */
const lockKey = (room: string): string => `room_lock:${room}`;
const LOCK_MS = 5_000;

export interface GhostKeeperOptions {
  readonly machine: string;
  readonly redis: Redis;
  /** Commits a webhook event before it returns, and delivers it; null where webhooks are turned off. */
  readonly send: ((event: object) => void) | null;
  /** False while this Redis may be one that was cut off: the others may be with another one already, and people in those rooms again. */
  readonly mayAct: () => boolean;
  readonly log: Logger;
}

/**
 * Looks after the rooms whose node has ended, one machine at a time: tells the webhooks' receivers that the participants left; and
 * once nobody has come back, that the room has ended, and removes what LiveKit's Redis still holds of it. Gives a function that ends it.
 */
export function startGhostKeeper(options: GhostKeeperOptions): () => Promise<void> {
  const { machine, redis, log } = options;
  const tell = (events: readonly object[]): void => {
    for (const event of events) options.send?.(event);
  };
  /** Tells who left; the room itself is looked at when nobody is to be waited for any more. */
  const tellLeft = async (member: string, ghost: Ghost): Promise<void> => {
    tell(leftEvents(ghost));
    await redis
      .multi()
      .zrem(GHOSTS_KEY, member)
      .zadd(GHOSTS_KEY, ghostEndMs(ghost), JSON.stringify({ ...ghost, isTold: true }))
      .exec();
  };
  const finish = async (member: string, ghost: Ghost): Promise<void> => {
    if (ghost.isRemoved === true) return tellFinished(member, ghost);
    const { name } = ghost.room;
    // While somebody makes it again, it is not looked at; the next look is a second later.
    if ((await redis.set(lockKey(name), machine, 'PX', LOCK_MS, 'NX')) !== 'OK') return;
    try {
      const record = await redis.hgetBuffer(ROOMS_KEY, name);
      const isOver = record !== null && isAbandoned(record, ghost.endedAtMs);
      // Without a record LiveKit has ended the room, and told so itself.
      if (isOver) await removeRoom(member, ghost);
      else {
        await removeParticipants(ghost);
        await redis.zrem(GHOSTS_KEY, member);
      }
      log.info({ room: name, isOver }, 'room of an ended node looked after');
    } finally {
      await redis.del(lockKey(name));
    }
  };
  /** Those who did not come back to a room that goes on elsewhere. */
  const removeParticipants = async ({ room, participants }: Ghost): Promise<void> => {
    const former = new Map(participants.map((one) => [one.identity, one.sid]));
    const now = await redis.hgetallBuffer(participantsKey(room.name));
    const gone = Object.entries(now).filter(([identity, bytes]) => former.get(identity) === readParticipant(bytes)?.sid);
    if (gone.length > 0) await redis.hdel(participantsKey(room.name), ...gone.map(([identity]) => identity));
  };
  const tellFinished = async (member: string, ghost: Ghost): Promise<void> => {
    tell([finishedEvent(ghost)]);
    await redis.zrem(GHOSTS_KEY, member);
  };
  /** Whoever goes on where this agent ends knows of it what is still to be told. */
  const removeRoom = async (member: string, ghost: Ghost): Promise<void> => {
    const { name } = ghost.room;
    const removed = JSON.stringify({ ...ghost, isRemoved: true });
    const keys = [participantsKey(name), `agent_dispatch:${name}`, `agent_job:${name}`];
    await redis
      .multi()
      .hdel(ROOMS_KEY, name)
      .hdel(ROOM_NODE_KEY, name)
      .hdel('room_internal', name)
      .del(...keys)
      .zrem(GHOSTS_KEY, member)
      .zadd(GHOSTS_KEY, 0, removed)
      .exec();
    await tellFinished(removed, ghost);
  };
  const tick = async (): Promise<void> => {
    if (redis.status !== 'ready' || !options.mayAct()) return;
    const due = await redis.zrangebyscore(GHOSTS_KEY, '-inf', await redisTimeMs(redis), 'LIMIT', 0, BATCH);
    if (due.length === 0 || (await redis.set(TURN_KEY, machine, 'PX', TURN_MS, 'NX')) !== 'OK') return;
    try {
      for (const member of due) {
        const ghost = parseGhost(member);
        if (ghost === null) await redis.zrem(GHOSTS_KEY, member);
        else await (ghost.isTold ? finish(member, ghost) : tellLeft(member, ghost));
      }
    } finally {
      await redis.del(TURN_KEY);
    }
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'rooms of ended nodes not looked after'));
  return () => ticker.stop();
}
