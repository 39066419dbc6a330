import { BinaryWriter, WireType } from '@bufbuild/protobuf/wire';
import type { Redis } from 'ioredis';
import { redisTimeMs } from '../clients/redis-time.ts';
import { GHOSTS_KEY } from '../contract/ghosts.ts';
import type { Ghost } from '../contract/ghosts.ts';
import { DRAINING_KEY, NODES_KEY, parseNodeRecords } from '../contract/node-record.ts';
import {
  LIVEKIT_NODES_KEY,
  ROOMS_KEY,
  ROOM_NODE_KEY,
  abandonedMark,
  isShuttingDown,
  nodeStamp,
  participantsKey,
  readNodeStamps,
  readParticipant,
  readRoom,
} from '../contract/livekit-records.ts';

/** Rooms that are read at a time. */
const BATCH = 500;

/** A record that is older is of a machine that may just have been lost, too: three missed heart-beats. */
const FRESH_MS = 3_000;

/**
 * Gives a room that is still the ended node's to another one, or to none, marks its record and notes its ghost. Where another
 * machine has been quicker, clients may be back in it already.
 */
const HAND_OVER = `
local handed = 0
for i = 3, #ARGV, 4 do
  local room, target, marked, ghost = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  if redis.call('HGET', KEYS[1], room) == ARGV[1] then
    if target == '' then redis.call('HDEL', KEYS[1], room) else redis.call('HSET', KEYS[1], room, target) end
    if ghost ~= '' then
      redis.call('HSET', KEYS[2], room, marked)
      redis.call('ZADD', KEYS[3], ARGV[2], ghost)
    end
    handed = handed + 1
  end
end
return handed`;

/**
 * Removes what LiveKit's registry still says of a node that has ended. LiveKit itself does so only when another node
 * starts, and gives rooms to it for five more seconds. Only for nodes that are proved dead: one that lives comes back
 * by itself within two seconds, but its rooms could then exist twice. The rooms become ghosts, see startGhostKeeper, and
 * each is given to another node at once: LiveKit (1.13, SelectRoomNode) looks for a room's node and then chooses one without a
 * lock between, so that clients who come back at the same moment would be led to different nodes.
 * Gives the number of rooms that were on it.
 */
export async function forgetNode(redis: Redis, nodeId: string): Promise<number> {
  const rooms: string[] = [];
  let cursor = '0';
  do {
    const [next, fields] = await redis.hscan(ROOM_NODE_KEY, cursor, 'COUNT', 1000);
    cursor = next;
    for (let index = 0; index < fields.length; index += 2) if (fields[index + 1] === nodeId) rooms.push(fields[index] ?? '');
  } while (cursor !== '0');
  const nowMs = rooms.length === 0 ? 0 : await redisTimeMs(redis);
  const heirs = rooms.length === 0 ? [] : await readHeirs(redis, nodeId, nowMs);
  const ending = redis.multi();
  // Read before anybody can come back to them on another node: who does takes his former entry's place.
  for (let first = 0; first < rooms.length; first += BATCH) {
    const names = rooms.slice(first, first + BATCH);
    const ghosts = await readGhosts(redis, names, nowMs);
    const words = names.flatMap((name, index) => {
      const found = ghosts[index];
      return [name, heirs[(first + index) % heirs.length] ?? '', found?.marked ?? '', found === undefined || found === null ? '' : JSON.stringify(found.ghost)];
    });
    ending.eval(HAND_OVER, 3, ROOM_NODE_KEY, ROOMS_KEY, GHOSTS_KEY, nodeId, nowMs, ...words);
  }
  await ending.hdel(LIVEKIT_NODES_KEY, nodeId).srem(DRAINING_KEY, nodeId).exec();
  return rooms.length;
}

/** True while LiveKit's registry holds an entry of this node. */
export async function hasNode(redis: Redis, nodeId: string): Promise<boolean> {
  return (await redis.hexists(LIVEKIT_NODES_KEY, nodeId)) === 1;
}

/** True where this node says itself that it was told to end: told once more it would throw everybody out. */
export async function isEnding(redis: Redis, nodeId: string): Promise<boolean> {
  const entry = await redis.hgetBuffer(LIVEKIT_NODES_KEY, nodeId);
  return entry !== null && isShuttingDown(entry);
}

/** Nodes that take rooms now, in any order. */
async function readHeirs(redis: Redis, ended: string, nowMs: number): Promise<string[]> {
  const records = parseNodeRecords(await redis.hgetall(NODES_KEY)).filter((one) => one.state === 'serving' && nowMs - one.updatedAtMs < FRESH_MS);
  return records.flatMap(({ nodeId }) => (nodeId === null || nodeId === ended ? [] : [nodeId])).toSorted(() => Math.random() - 0.5);
}

/** A ghost for each name, and its room's record with the mark of one that nobody has made again; null where there is no record. */
async function readGhosts(redis: Redis, names: readonly string[], endedAtMs: number): Promise<({ ghost: Ghost; marked: Buffer } | null)[]> {
  const reading = redis.pipeline().hmgetBuffer(ROOMS_KEY, ...names);
  for (const name of names) reading.hvalsBuffer(participantsKey(name));
  const [rooms, ...participants] = ((await reading.exec()) ?? []).map(([error, value]) => (error === null && Array.isArray(value) ? value : []));
  return names.map((_name, index) => {
    const bytes: unknown = rooms?.[index];
    const room = bytes instanceof Uint8Array ? readRoom(bytes) : null;
    if (room === null || !(bytes instanceof Uint8Array)) return null;
    const inside = (participants[index] ?? []).flatMap((one: unknown) => (one instanceof Uint8Array ? (readParticipant(one) ?? []) : []));
    return { ghost: { room, participants: inside, endedAtMs, isTold: false }, marked: Buffer.concat([bytes, abandonedMark(room, endedAtMs)]) };
  });
}

/**
 * A node is protobuf (Node of livekit_internal.proto), in which the last word on a field counts, and a message that comes again is merged.
 * https://protobuf.dev/programming-guides/encoding/#last-one-wins
 */
const ADD_TO_ENTRIES = `
for i = 2, #ARGV do
  local node = redis.call('HGET', KEYS[1], ARGV[i])
  if node then redis.call('HSET', KEYS[1], ARGV[i], node .. ARGV[1]) end
end`;

/** Lasts until a node writes its entry itself, which it does every two seconds while it reaches Redis. */
async function addToEntries(redis: Redis, nodeIds: readonly string[], bytes: Uint8Array): Promise<void> {
  await redis.eval(ADD_TO_ENTRIES, 1, LIVEKIT_NODES_KEY, Buffer.from(bytes), ...nodeIds);
}

/** Keeps new rooms away from a node: `state` (6) is SHUTTING_DOWN (2). Its own rooms stay. */
export async function avoidNode(redis: Redis, nodeId: string): Promise<void> {
  await addToEntries(redis, [nodeId], new BinaryWriter().tag(6, WireType.Varint).int32(2).finish());
}

/** LiveKit gives the rooms of a node that has not written its entry for five seconds to another one. */
const KEPT_SECONDS = 3;
/** A replacement of the primary that takes its time lasts longer than those five seconds. */
const AHEAD_SECONDS = 5;

/**
 * Counts as written just now what these nodes said last, and three seconds more. While a primary is replaced nobody can write, and
 * some find the new one later than others: LiveKit (1.13, IsAvailable) would lead the next who comes into one of their rooms to another
 * node, and the room would go on in two halves. @param nowMs Redis TIME
 */
export async function keepNodes(redis: Redis, nodeIds: readonly string[], nowMs: number): Promise<void> {
  await addToEntries(redis, nodeIds, nodeStamp(Math.floor(nowMs / 1_000) + KEPT_SECONDS));
}

/**
 * Lets what a node has just said itself count for five seconds longer; nothing where that was done. So the entries are good already
 * when a primary is lost, and LiveKit finds them so on the next one before any agent has spoken to it.
 */
export async function keepAhead(redis: Redis, nodeId: string): Promise<void> {
  const entry = await redis.hgetBuffer(LIVEKIT_NODES_KEY, nodeId);
  const [written, ...added] = entry === null ? [] : readNodeStamps(entry);
  if (written !== undefined && added.length === 0) await addToEntries(redis, [nodeId], nodeStamp(written + AHEAD_SECONDS));
}

/**
 * When LiveKit itself wrote this node's entry, in whole seconds since 1970 by the clock of its machine; null where there is none, and 0
 * where it does not say.
 */
export async function readStamp(redis: Redis, nodeId: string): Promise<number | null> {
  const entry = await redis.hgetBuffer(LIVEKIT_NODES_KEY, nodeId);
  return entry === null ? null : (readNodeStamps(entry)[0] ?? 0);
}
