import { expect, onTestFinished, test } from 'vitest';
import { startStaleEntries } from '../../src/agent/stale-entries.ts';
import { nodeStamp } from '../../src/contract/livekit-records.ts';
import { nodeRecord, silentLog, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

test('an entry that no record names goes once nobody has written it for three minutes', async () => {
  const redis = (await startRedis()).connect();
  await redis.hset('fleet:nodes', 'm2', JSON.stringify(nodeRecord({ machine: 'm2', nodeId: 'ND_named' })));
  const write = async (nodeId: string, seconds: number): Promise<unknown> => redis.hset('nodes', nodeId, Buffer.from(nodeStamp(seconds)));
  for (const nodeId of ['ND_named', 'ND_stale', 'ND_lives']) await write(nodeId, 100);
  let nowMs = 0;
  let looks = 0;
  const monotonicMs = (): number => {
    looks += 1;
    return nowMs;
  };
  onTestFinished(startStaleEntries({ redis, log: silentLog, monotonicMs, periodMs: 20 }));
  const pass = async (ms: number): Promise<string[]> => {
    nowMs += ms;
    const before = looks;
    // Whatever is under way, and one more.
    await until(() => expect(looks).toBeGreaterThan(before + 20));
    return (await redis.hkeys('nodes')).toSorted();
  };
  const all = ['ND_lives', 'ND_named', 'ND_stale'];
  expect(await pass(0)).toEqual(all);
  // Redis was away.
  expect(await pass(200_000)).toEqual(all);
  for (const seconds of [50, 100, 150]) {
    await write('ND_lives', seconds);
    expect(await pass(50_000)).toEqual(all);
  }
  expect(await pass(40_000)).toEqual(['ND_lives', 'ND_named']);
});
