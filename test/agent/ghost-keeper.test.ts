import type { Redis } from 'ioredis';
import { Room } from 'livekit-server-sdk';
import { expect, onTestFinished, test } from 'vitest';
import { startGhostKeeper } from '../../src/agent/ghost-keeper.ts';
import { forgetNode } from '../../src/agent/livekit-nodes.ts';
import { startVanishedNodes } from '../../src/agent/vanished-nodes.ts';
import { redisTimeMs } from '../../src/clients/redis-time.ts';
import { nodeRecord, silentLog, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

/** A room whose node has ended, and to which nobody has come back. */
async function abandonRoom(redis: Redis): Promise<void> {
  await redis.hset('rooms', 'r', Buffer.from(new Room({ sid: 'RM_1', name: 'r', emptyTimeout: 0, creationTime: 1_700_000_000n }).toBinary()));
  await redis.hset('room_node_map', 'r', 'ND_gone');
  await forgetNode(redis, 'ND_gone');
  const [ghost = ''] = await redis.zrange('fleet:ghosts', '0', '-1');
  await redis.del('fleet:ghosts');
  await redis.zadd('fleet:ghosts', (await redisTimeMs(redis)) - 1, JSON.stringify({ ...(JSON.parse(ghost) as object), isTold: true }));
}

test('a room that was removed is told of, though the agent that removed it could not', async () => {
  const redis = (await startRedis()).connect();
  await abandonRoom(redis);
  const sent: object[] = [];
  let tries = 0;
  const send = (event: object): void => {
    tries += 1;
    if (tries === 1) throw new Error('the disk is full');
    sent.push(event);
  };
  onTestFinished(startGhostKeeper({ machine: 'm2', redis, send, mayAct: () => true, log: silentLog }));
  await until(async () => expect(await redis.zcard('fleet:ghosts')).toBe(0), 10_000);
  expect(sent).toMatchObject([{ event: 'room_finished', room: { sid: 'RM_1' } }]);
  expect(await redis.hexists('rooms', 'r')).toBe(0);
});

test('a Redis that hears half of the machines ends no rooms: it may be a primary that was cut off', async () => {
  const redis = (await startRedis()).connect();
  const nowMs = await redisTimeMs(redis);
  for (const machine of ['m2', 'm3']) await redis.hset('fleet:nodes', machine, JSON.stringify(nodeRecord({ machine, updatedAtMs: nowMs, nodeId: null })));
  await abandonRoom(redis);
  const seen = startVanishedNodes({ machine: 'm2', sentinelPort: 1, redis, log: silentLog, monotonicMs: () => performance.now() });
  onTestFinished(() => seen.stop());
  const sent: object[] = [];
  let asked = 0;
  const mayAct = (): boolean => {
    asked += 1;
    return seen.isWithMost();
  };
  const stop = startGhostKeeper({ machine: 'm2', redis, send: (event) => void sent.push(event), mayAct, log: silentLog });
  onTestFinished(stop);
  // Longer than one that hears enough waits.
  await until(() => expect(asked).toBeGreaterThan(5), 10_000);
  expect(sent).toEqual([]);
  expect(await redis.hexists('rooms', 'r')).toBe(1);
  const speaking = setInterval(
    () =>
      void redisTimeMs(redis)
        .then((atMs) => redis.hset('fleet:sights', 'm3', String(atMs)))
        .catch(() => undefined),
    200,
  );
  onTestFinished(() => clearInterval(speaking));
  await until(() => expect(sent).toMatchObject([{ event: 'room_finished', room: { sid: 'RM_1' } }]), 10_000);
  expect(await redis.hexists('rooms', 'r')).toBe(0);
});
