import { expect, onTestFinished, test } from 'vitest';
import type { LivekitAnswer } from '../../src/agent/livekit-probe.ts';
import { startMediaRegistry } from '../../src/agent/media-registry.ts';
import { silentLog, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

const media = {
  signallingUrl: 'http://127.0.0.1:1',
  advertiseAddress: '127.0.0.1:1',
  metricsUrl: 'http://127.0.0.1:1',
  metricsUsername: '',
  metricsPassword: '',
  version: '1',
  livekitConfig: '/livekit.yaml',
  keyFingerprint: '',
};

test('a node whose port closes a moment after its connections is forgotten all the same', async () => {
  const redis = (await startRedis()).connect();
  let answer: LivekitAnswer = 'ok';
  const watchers: (() => void)[] = [];
  const probe = {
    check: async () => answer,
    look: async () => null,
    readNodeId: async () => (answer === 'ok' ? 'ND_1' : null),
    watch(end: () => void) {
      watchers.push(end);
      return () => undefined;
    },
  };
  await redis.hset('nodes', { ND_1: 'ends', ND_2: 'of another machine' });
  await redis.hset('room_node_map', { r1: 'ND_1', r2: 'ND_2' });
  const registry = startMediaRegistry({ machine: 'm2', media, redis, probe, isOpen: async () => true, log: silentLog, monotonicMs: () => performance.now() });
  onTestFinished(() => registry.stop());
  const record = async (): Promise<unknown> => JSON.parse((await redis.hget('fleet:nodes', 'm2')) ?? 'null');
  await until(async () => expect(await record()).toMatchObject({ state: 'serving', nodeId: 'ND_1' }));
  answer = 'unready';
  watchers[0]?.();
  const writtenMs = Number((await redis.time())[0]) * 1_000;
  await until(async () => expect(((await record()) as { updatedAtMs: number }).updatedAtMs).toBeGreaterThan(writtenMs));
  expect(await record()).toMatchObject({ nodeId: 'ND_1' });
  answer = 'refused';
  await until(async () => expect(await record()).toMatchObject({ state: 'down', nodeId: null }));
  expect(await redis.hkeys('nodes')).toEqual(['ND_2']);
  expect(await redis.hgetall('room_node_map')).toEqual({ r2: 'ND_2' });
});
