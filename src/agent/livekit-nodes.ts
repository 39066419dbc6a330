import type { Redis } from 'ioredis';

/** LiveKit's own hashes (livekit-server, pkg/routing/redisrouter.go): node id → node, room name → node id. */
const NODES_KEY = 'nodes';
const ROOM_NODE_KEY = 'room_node_map';

/**
 * Removes what LiveKit's registry still says of a node that has ended. LiveKit itself does so only when another node
 * starts, and gives rooms to it for five more seconds. Only for nodes that are proved dead: one that lives comes back
 * by itself within two seconds, but its rooms could then exist twice. Gives the number of rooms that were on it.
 */
export async function forgetNode(redis: Redis, nodeId: string): Promise<number> {
  await redis.hdel(NODES_KEY, nodeId);
  const rooms: string[] = [];
  let cursor = '0';
  do {
    const [next, fields] = await redis.hscan(ROOM_NODE_KEY, cursor, 'COUNT', 1000);
    cursor = next;
    for (let index = 0; index < fields.length; index += 2) if (fields[index + 1] === nodeId) rooms.push(fields[index] ?? '');
  } while (cursor !== '0');
  if (rooms.length > 0) await redis.hdel(ROOM_NODE_KEY, ...rooms);
  return rooms.length;
}
