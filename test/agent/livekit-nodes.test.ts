import { Room } from 'livekit-server-sdk';
import { expect, test } from 'vitest';
import { avoidNode, forgetNode, keepAhead, keepNodes, readStamp } from '../../src/agent/livekit-nodes.ts';
import { isAbandoned, nodeStamp, readNodeStamps } from '../../src/contract/livekit-records.ts';
import { startRedis } from './redis.ts';

const record = (machine: string, nodeId: string, updatedAtMs: number, state = 'serving'): string =>
  JSON.stringify({ machine, signalling: '127.0.0.1:1', nodeId, version: '1', state, keyFingerprint: '', updatedAtMs });

const room = (name: string): Buffer => Buffer.from(new Room({ sid: `RM_${name}`, name, creationTime: 1_700_000_000n }).toBinary());

async function fleetOf(records: (nowMs: number) => Record<string, string>) {
  const redis = (await startRedis()).connect();
  const nowMs = Number((await redis.time())[0]) * 1_000;
  const found = records(nowMs);
  await redis.hset('fleet:nodes', found);
  await redis.hset('nodes', { ND_1: 'ends', ND_2: 'lives' });
  for (const name of ['r1', 'r2', 'elsewhere']) await redis.hset('rooms', name, room(name));
  await redis.hset('room_node_map', { r1: 'ND_1', r2: 'ND_1', elsewhere: 'ND_2', 'without a record': 'ND_1' });
  return redis;
}

test('the rooms of an ended node are given to another one, and nobody takes them away again', async () => {
  const redis = await fleetOf((nowMs) => ({
    m1: record('m1', 'ND_1', nowMs),
    m2: record('m2', 'ND_2', nowMs),
    m3: record('m3', 'ND_3', nowMs, 'draining'),
    m4: record('m4', 'ND_4', nowMs - 5_000),
  }));
  // Two machines that find out at the same time.
  const counts = await Promise.all([forgetNode(redis, 'ND_1'), forgetNode(redis, 'ND_1')]);
  expect(Math.max(...counts)).toBe(3);
  expect(await redis.hgetall('room_node_map')).toEqual({ r1: 'ND_2', r2: 'ND_2', elsewhere: 'ND_2', 'without a record': 'ND_2' });
  expect(await redis.hkeys('nodes')).toEqual(['ND_2']);
  const ghosts = (await redis.zrange('fleet:ghosts', '0', '-1')).map((one) => JSON.parse(one) as { room: { name: string }; endedAtMs: number });
  expect(ghosts.map((one) => one.room.name).toSorted()).toEqual(['r1', 'r2']);
  for (const ghost of ghosts) expect(isAbandoned((await redis.hgetBuffer('rooms', ghost.room.name)) ?? Buffer.alloc(0), ghost.endedAtMs)).toBe(true);
});

test('without another node the rooms have none', async () => {
  const redis = await fleetOf((nowMs) => ({ m1: record('m1', 'ND_1', nowMs) }));
  await forgetNode(redis, 'ND_1');
  expect(await redis.hgetall('room_node_map')).toEqual({ elsewhere: 'ND_2' });
});

test('what a node says counts for longer, once, and its own word is still known', async () => {
  const redis = (await startRedis()).connect();
  const [seconds] = await redis.time();
  const written = Number(seconds) - 1;
  // A field that is not ours, as LiveKit writes it before the others: id (1).
  const own = Buffer.concat([Buffer.from('\u000a\u0004ND_1'), nodeStamp(written)]);
  const stamps = async (): Promise<number[]> => readNodeStamps((await redis.hgetBuffer('nodes', 'ND_1')) ?? Buffer.alloc(0));
  await redis.hset('nodes', 'ND_1', own);
  for (let time = 0; time < 2; time++) await keepAhead(redis, 'ND_1');
  expect(await stamps()).toEqual([written, written + 5]);
  expect(await readStamp(redis, 'ND_1')).toBe(written);
  await redis.hset('nodes', 'ND_1', own);
  await avoidNode(redis, 'ND_1');
  await keepAhead(redis, 'ND_1');
  expect(await stamps()).toEqual([written, written + 5]);
  await keepNodes(redis, ['ND_1'], (written + 20) * 1_000);
  expect(await stamps()).toEqual([written, written + 5, written + 23]);
  await redis.hset('nodes', 'ND_2', 'no message');
  for (const node of ['ND_2', 'ND_3']) await keepAhead(redis, node);
  expect([await redis.hget('nodes', 'ND_2'), await redis.hget('nodes', 'ND_3')]).toEqual(['no message', null]);
  expect(await readStamp(redis, 'ND_3')).toBeNull();
});
