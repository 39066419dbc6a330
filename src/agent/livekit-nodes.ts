import type { Redis } from 'ioredis';
import { redisTimeMs } from '../clients/redis.ts';
import { GHOSTS_KEY } from '../contract/ghosts.ts';
import type { Ghost } from '../contract/ghosts.ts';
import { DRAINING_KEY } from '../contract/node-record.ts';
import { readParticipant, readRoom } from '../contract/livekit-records.ts';

/** LiveKit's own hashes (livekit-server, pkg/routing/redisrouter.go): node id → node, room name → node id. */
const NODES_KEY = 'nodes';
export const ROOM_NODE_KEY = 'room_node_map';
/** And those of its store (pkg/service/redisstore.go): room name → room, and in one hash per room identity → participant. */
export const ROOMS_KEY = 'rooms';
export const participantsKey = (room: string): string => `room_participants:${room}`;
/** Rooms that are read at a time. */
const BATCH = 500;

/**
 * Removes what LiveKit's registry still says of a node that has ended. LiveKit itself does so only when another node
 * starts, and gives rooms to it for five more seconds. Only for nodes that are proved dead: one that lives comes back
 * by itself within two seconds, but its rooms could then exist twice. The rooms become ghosts, see startGhostKeeper.
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
  const ending = redis.multi().hdel(NODES_KEY, nodeId).srem(DRAINING_KEY, nodeId);
  // Read before anybody can come back to them on another node: who does takes his former entry's place.
  for (let first = 0; first < rooms.length; first += BATCH) {
    const names = rooms.slice(first, first + BATCH);
    ending.hdel(ROOM_NODE_KEY, ...names);
    for (const ghost of await readGhosts(redis, names, nowMs)) ending.zadd(GHOSTS_KEY, nowMs, JSON.stringify(ghost));
  }
  await ending.exec();
  return rooms.length;
}

async function readGhosts(redis: Redis, names: readonly string[], endedAtMs: number): Promise<Ghost[]> {
  const reading = redis.pipeline().hmgetBuffer(ROOMS_KEY, ...names);
  for (const name of names) reading.hvalsBuffer(participantsKey(name));
  const [rooms, ...participants] = ((await reading.exec()) ?? []).map(([error, value]) => (error === null && Array.isArray(value) ? value : []));
  return names.flatMap((_name, index) => {
    const bytes: unknown = rooms?.[index];
    const room = bytes instanceof Uint8Array ? readRoom(bytes) : null;
    if (room === null) return [];
    const inside = (participants[index] ?? []).flatMap((one: unknown) => (one instanceof Uint8Array ? (readParticipant(one) ?? []) : []));
    return [{ room, participants: inside, endedAtMs, isTold: false }];
  });
}

/**
 * A node is protobuf, in which the last word on a field counts: state (6) is SHUTTING_DOWN (2), as livekit_models.proto has it.
 * https://protobuf.dev/programming-guides/encoding/#last-one-wins
 */
const AVOID = `
local node = redis.call('HGET', KEYS[1], ARGV[1])
if node then redis.call('HSET', KEYS[1], ARGV[1], node .. string.char(48, 2)) end`;

/** Keeps new rooms away from a node until it writes its entry itself, which it does every two seconds while it reaches Redis. Its own rooms stay. */
export async function avoidNode(redis: Redis, nodeId: string): Promise<void> {
  await redis.eval(AVOID, 1, NODES_KEY, nodeId);
}
