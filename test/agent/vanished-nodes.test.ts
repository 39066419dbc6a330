import { setTimeout as delay } from 'node:timers/promises';
import { BinaryReader, WireType } from '@bufbuild/protobuf/wire';
import type { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { startVanishedNodes } from '../../src/agent/vanished-nodes.ts';
import { redisTimeMs } from '../../src/clients/redis-time.ts';
import { nodeStamp } from '../../src/contract/livekit-records.ts';
import { parseSights } from '../../src/contract/sight.ts';
import { nodeRecord, silentLog, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

/** No connection leads there. */
const NOWHERE = '255.255.255.255:7880';
/** Nothing listens there, and the machine says so. */
const CLOSED = '127.0.0.1:1';
const monotonicMs = (): number => performance.now();

/** A registry of three machines: m4 is nowhere and silent, the others are only without LiveKit. */
async function registry(): Promise<Redis> {
  const redis = (await startRedis()).connect();
  const nowMs = await redisTimeMs(redis);
  for (const machine of ['m2', 'm3', 'm4']) {
    const isLost = machine === 'm4';
    const record = nodeRecord({ machine, nodeId: `ND_${machine}`, signalling: isLost ? NOWHERE : CLOSED, updatedAtMs: nowMs - (isLost ? 10_000 : 0) });
    await redis.hset('fleet:nodes', machine, JSON.stringify(record));
    await redis.hset('nodes', record.nodeId ?? '', 'a node');
    await redis.hset('room_node_map', `room-${machine}`, record.nodeId ?? '');
  }
  return redis;
}

function observe(redis: Redis, machine: string, onChange?: () => void): ReturnType<typeof startVanishedNodes> {
  const own = redis.duplicate();
  own.on('error', () => undefined);
  onTestFinished(() => own.disconnect());
  const nodes = startVanishedNodes({ machine, sentinelPort: 1, redis: own, log: silentLog, monotonicMs, ...(onChange === undefined ? {} : { onChange }) });
  onTestFinished(() => nodes.stop());
  return nodes;
}

const sights = async (redis: Redis) => parseSights(await redis.hgetall('fleet:sights'));

test('what LiveKit’s registry says of a machine that all others miss is removed, and then its record names no node', async () => {
  const redis = await registry();
  let changes = 0;
  const [gateway] = ['m1', 'm2', 'm3'].map((machine) => observe(redis, machine, () => (changes += 1)));
  await until(async () => expect(JSON.parse((await redis.hget('fleet:nodes', 'm4')) ?? '{}')).toMatchObject({ state: 'down', nodeId: null }));
  expect((await redis.hkeys('nodes')).toSorted()).toEqual(['ND_m2', 'ND_m3']);
  const { 'room-m4': heir, ...others } = await redis.hgetall('room_node_map');
  expect(others).toEqual({ 'room-m2': 'ND_m2', 'room-m3': 'ND_m3' });
  expect(['ND_m2', 'ND_m3'], 'its room belongs to a node that is there').toContain(heir);
  expect([gateway?.isOutOfReach('m4'), gateway?.isOutOfReach('m3')]).toEqual([true, false]);
  expect(changes).toBeGreaterThan(0);
});

test('who was interrupted in its turn to remove them goes on, and nobody else meanwhile', async () => {
  const redis = await registry();
  await redis.set('fleet:vanished-turn:m4', 'm3');
  for (const machine of ['m1', 'm2']) observe(redis, machine);
  const saying = setInterval(() => void redisTimeMs(redis).then((nowMs) => redis.hset('fleet:sights', 'm3', `${nowMs} m4`)), 100);
  const missing = async (): Promise<number> => (await sights(redis)).filter((one) => one.unreachable.includes('m4')).length;
  await until(async () => expect(await missing()).toBe(3));
  await delay(1_000);
  expect(await redis.hget('nodes', 'ND_m4')).toBe('a node');
  clearInterval(saying);
  observe(redis, 'm3');
  await until(async () => expect(await redis.hget('nodes', 'ND_m4')).toBeNull());
});

test('where a machine has not found Redis yet, LiveKit is told to place no new rooms there', async () => {
  const redis = await registry();
  await redis.hset('fleet:sights', 'm3', `${(await redisTimeMs(redis)) - 5_000}`);
  for (const machine of ['m1', 'm2']) observe(redis, machine);
  await until(async () => expect(await redis.hget('nodes', 'ND_m4')).toBeNull());
  expect(await redis.hget('nodes', 'ND_m2')).toBe('a node');
  expect(await redis.hget('nodes', 'ND_m3')).toBe('a node\u0030\u0002');
  expect(await redis.hget('room_node_map', 'room-m3')).toBe('ND_m3');
});

test('it stays while one machine reaches it', async () => {
  const redis = await registry();
  let seen = '';
  const say = async (): Promise<unknown> => redis.hset('fleet:sights', 'm3', `${await redisTimeMs(redis)} ${seen}`);
  await say();
  const saying = setInterval(() => void say(), 100);
  onTestFinished(() => clearInterval(saying));
  for (const machine of ['m1', 'm2']) observe(redis, machine);
  const missing = async (): Promise<number[]> => (await sights(redis)).filter((one) => one.unreachable.includes('m4')).map((one) => one.atMs);
  await until(async () => expect(await missing()).toHaveLength(2));
  const since = Math.max(...(await missing()));
  // Each has judged several times since.
  await until(async () => expect(Math.min(...(await missing()))).toBeGreaterThan(since + 1_000));
  expect(await redis.hget('nodes', 'ND_m4')).toBe('a node');
  seen = 'm4';
  await until(async () => expect(await redis.hget('nodes', 'ND_m4')).toBeNull());
});

test('a node whose clock is behind, and whose agent alone is silent, keeps its rooms for as long as it writes', async () => {
  const redis = await registry();
  const silent = nodeRecord({ machine: 'm4', nodeId: 'ND_m4', signalling: CLOSED, updatedAtMs: (await redisTimeMs(redis)) - 10_000 });
  await redis.hset('fleet:nodes', 'm4', JSON.stringify(silent));
  const beganMs = await redisTimeMs(redis);
  const write = async (): Promise<unknown> => redis.hset('nodes', 'ND_m4', Buffer.from(nodeStamp(Math.floor((await redisTimeMs(redis)) / 1_000) - 5)));
  await write();
  const writing = setInterval(() => void write(), 2_000);
  onTestFinished(() => clearInterval(writing));
  for (const machine of ['m1', 'm2', 'm3']) observe(redis, machine);
  await until(async () => expect((await sights(redis))[0]?.atMs).toBeGreaterThan(beganMs + 6_000), 15_000);
  expect(await redis.hget('room_node_map', 'room-m4')).toBe('ND_m4');
  clearInterval(writing);
  await until(async () => expect(await redis.hget('nodes', 'ND_m4')).toBeNull(), 10_000);
  expect(await redis.get('fleet:fenced:ND_m4')).not.toBeNull();
});

test('a machine that has written its record anew meanwhile keeps it', async () => {
  const redis = await registry();
  for (const machine of ['m1', 'm2', 'm3']) observe(redis, machine);
  await until(async () => expect((await sights(redis)).filter((one) => one.unreachable.includes('m4'))).not.toHaveLength(0));
  const back = nodeRecord({ machine: 'm4', nodeId: 'ND_new', signalling: CLOSED });
  const write = async (): Promise<unknown> => redis.hset('fleet:nodes', 'm4', JSON.stringify({ ...back, updatedAtMs: await redisTimeMs(redis) }));
  await write();
  const writing = setInterval(() => void write(), 100);
  onTestFinished(() => clearInterval(writing));
  await until(async () => expect((await sights(redis)).map((one) => one.unreachable)).toEqual([[], [], []]));
  expect(JSON.parse((await redis.hget('fleet:nodes', 'm4')) ?? '{}')).toEqual({ ...back, updatedAtMs: expect.any(Number) });
});

test('a new primary counts no node’s silence: its rooms stay with it until it has written its entry again', async () => {
  const former = await registry();
  const replica = await registry();
  const own = former.duplicate();
  own.on('error', () => undefined);
  onTestFinished(() => own.disconnect());
  const nodes = startVanishedNodes({ machine: 'm1', sentinelPort: 1, redis: own, log: silentLog, monotonicMs });
  onTestFinished(() => nodes.stop());
  await until(async () => expect(nodes.isOutOfReach('m4')).toBe(true));
  expect(await former.hget('nodes', 'ND_m2')).toBe('a node');
  own.options.port = replica.options.port ?? 0;
  own.disconnect(true);
  const bytes = async (node: string): Promise<Buffer> => (await replica.hgetBuffer('nodes', node)) ?? Buffer.of();
  await until(async () => expect((await bytes('ND_m2')).length).toBeGreaterThan('a node'.length));
  for (const node of ['ND_m2', 'ND_m3']) {
    const reader = new BinaryReader((await bytes(node)).subarray('a node'.length));
    expect(reader.tag()).toEqual([4, WireType.LengthDelimited]);
    const stats = new BinaryReader(reader.bytes());
    expect(stats.tag()).toEqual([2, WireType.Varint]);
    expect(Number(stats.int64()) * 1_000).toBeGreaterThan(await redisTimeMs(replica));
  }
  // It cannot be reached: what LiveKit does with its rooms by itself is right.
  expect(String(await bytes('ND_m4'))).toBe('a node');
});
