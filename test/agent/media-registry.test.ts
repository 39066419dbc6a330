import { expect, onTestFinished, test, vi } from 'vitest';
import type { LivekitAnswer } from '../../src/agent/livekit-probe.ts';
import { startMediaRegistry } from '../../src/agent/media-registry.ts';
import type { MediaRegistry, MediaRegistryOptions } from '../../src/agent/media-registry.ts';
import { nodeStamp } from '../../src/contract/livekit-records.ts';
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

/** The registry of a machine `m2`, until the test ends. */
function startRegistry(options: Pick<MediaRegistryOptions, 'redis' | 'probe'> & Partial<MediaRegistryOptions>): MediaRegistry {
  const registry = startMediaRegistry({
    machine: 'm2',
    media,
    kill: async () => undefined,
    isOpen: async () => true,
    log: silentLog,
    monotonicMs: () => performance.now(),
    ...options,
  });
  onTestFinished(() => registry.stop());
  return registry;
}

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
  const registry = startRegistry({ redis, probe });
  const record = async (): Promise<unknown> => JSON.parse((await redis.hget('fleet:nodes', 'm2')) ?? 'null');
  await until(async () => expect(await record()).toMatchObject({ state: 'serving', nodeId: 'ND_1' }));
  expect(registry.isServing()).toBe(true);
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

test('a LiveKit that is not there yet is looked for more often than once a second', async () => {
  const redis = (await startRedis()).connect();
  let looks = 0;
  const probe = { ...startedAnew('ok').probe, check: async (): Promise<LivekitAnswer> => (++looks < 10 ? 'refused' : 'ok') };
  const registry = startRegistry({ redis, probe });
  // Once a second it would take nine.
  await until(async () => expect(registry.isServing()).toBe(true));
});

test('a LiveKit that goes on keeps serving while its agent is restarted', async () => {
  const redis = (await startRedis()).connect();
  let answer: LivekitAnswer = 'ok';
  const probe = { ...startedAnew('ok').probe, check: async () => answer };
  const stateOf = async (): Promise<unknown> => (JSON.parse((await redis.hget('fleet:nodes', 'm2')) ?? '{}') as { state?: string }).state;
  const first = startRegistry({ redis, probe });
  await until(async () => expect(await stateOf()).toBe('serving'));
  await first.stop();
  expect(await stateOf()).toBe('serving');
  // The next one has not yet seen that others reach the machine.
  const said: unknown[] = [];
  const listener = redis.duplicate();
  onTestFinished(() => listener.disconnect());
  listener.on('message', () => void stateOf().then((state) => said.push(state)));
  await listener.subscribe('fleet:changed');
  const next = startRegistry({ redis, probe, isOpen: async () => false });
  await until(() => expect(next.isServing()).toBe(true));
  expect(said.filter((state) => state !== 'serving')).toEqual([]);
  answer = 'refused';
  await next.stop();
  expect(await stateOf()).toBe('stopped');
});

test('a node that nobody has been led to does not serve before others reach its machine', async () => {
  const redis = (await startRedis()).connect();
  const { probe } = startedAnew('ok');
  const before = { machine: 'm2', signalling: media.advertiseAddress, nodeId: 'ND_1', version: '1', keyFingerprint: '', updatedAtMs: 1 };
  for (const changed of [{ state: 'down' }, { state: 'serving', nodeId: 'ND_0' }, { state: 'serving', signalling: '127.0.0.2:1' }]) {
    await redis.hset('fleet:nodes', 'm2', JSON.stringify({ ...before, ...changed }));
    const registry = startRegistry({ redis, probe, isOpen: async () => false });
    await until(async () => expect(JSON.parse((await redis.hget('fleet:nodes', 'm2')) ?? '{}')).toMatchObject({ state: 'down', nodeId: 'ND_1' }));
    expect(registry.isServing()).toBe(false);
    await registry.stop();
  }
});

/** A LiveKit that is ND_1 until it is killed, and ND_2 from then on. */
function startedAnew(answer: 'ok' | 'unready') {
  let node = 'ND_1';
  const killed: string[] = [];
  return {
    node: () => node,
    killed,
    probe: { check: async () => answer, look: async () => null, readNodeId: async () => node, watch: () => () => undefined },
    async kill(): Promise<void> {
      killed.push(node);
      node = 'ND_2';
    },
  };
}

test('a node that the others took for gone is started anew when it can speak again', async () => {
  const redis = (await startRedis()).connect();
  const { probe, kill, killed } = startedAnew('ok');
  startRegistry({ redis, probe, kill });
  const named = async (): Promise<unknown> => (JSON.parse((await redis.hget('fleet:nodes', 'm2')) ?? '{}') as { nodeId?: string }).nodeId;
  await until(async () => expect(await named()).toBe('ND_1'));
  expect(killed).toEqual([]);
  await redis.hset('nodes', { ND_1: 'still writes' });
  await redis.set('fleet:fenced:ND_1', 'm3');
  await until(async () => expect(await named()).toBe('ND_2'), 15_000);
  expect(killed).toEqual(['ND_1']);
  expect(await redis.hkeys('nodes')).toEqual([]);
  // What it had sent before its end comes late.
  await redis.hset('nodes', 'ND_1', 'last words');
  await until(async () => expect(await redis.hkeys('nodes')).toEqual([]));
});

test('a LiveKit that writes nothing any more, though Redis takes what its agent writes, is started anew', async () => {
  const redis = (await startRedis()).connect();
  let writtenAt = 1_000;
  const { probe, kill, killed, node } = startedAnew('unready');
  let pausedMs = 0;
  startRegistry({ redis, probe, kill, monotonicMs: () => performance.now() + pausedMs });
  const entry = async (): Promise<unknown> => redis.hset('nodes', node(), Buffer.from(nodeStamp(writtenAt)));
  await entry();
  await redis.hset('room_node_map', 'r1', 'ND_1');
  const writtenMs = async (): Promise<number> =>
    (JSON.parse((await redis.hget('fleet:nodes', 'm2')) ?? '{"updatedAtMs":0}') as { updatedAtMs: number }).updatedAtMs;
  const writes = async (count: number): Promise<void> => {
    for (let left = count, last = await writtenMs(); left > 0; left -= 1) {
      await until(async () => expect(await writtenMs()).toBeGreaterThan(last));
      last = await writtenMs();
    }
  };
  await writes(2);
  // The whole machine has stood still: both have, here while Redis is asked when LiveKit wrote last.
  const read = redis.hgetBuffer.bind(redis);
  vi.spyOn(redis, 'hgetBuffer').mockImplementationOnce(async (...words: Parameters<typeof read>) => {
    const entryThen = await read(...words);
    pausedMs = 60_000;
    return entryThen;
  });
  await until(() => expect(pausedMs).toBe(60_000));
  await writes(3);
  writtenAt += 2;
  await entry();
  await writes(2);
  // Redis takes nothing from anybody, for longer than a LiveKit may hang.
  await redis.config('SET', 'min-replicas-to-write', '1');
  const refusedMs = performance.now();
  await until(() => expect(performance.now() - refusedMs).toBeGreaterThan(12_000), 15_000);
  await redis.config('SET', 'min-replicas-to-write', '0');
  await writes(2);
  expect(killed).toEqual([]);
  await until(() => expect(killed).toEqual(['ND_1']), 15_000);
  await until(async () => expect([await redis.hkeys('nodes'), await redis.hkeys('room_node_map')]).toEqual([[], []]));
}, 60_000);
