import { expect, onTestFinished, test } from 'vitest';
import { startOrderTaker } from '../../src/agent/order-taker.ts';
import { silentLog, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

test.each([
  ['that serves is told to end', '\u0030\u0001', ['SIGTERM']],
  ['that others keep new rooms away from is told to end', '\u0030\u0001\u0030\u0002', ['SIGTERM']],
  ['that somebody has told to end is not told again, which would throw everybody out', '\u0030\u0002', []],
])('a LiveKit %s', async (_name, entry, expected) => {
  const redis = (await startRedis()).connect();
  let pid = 7;
  const signals: string[] = [];
  const livekit = { pid: async () => pid, signal: (_pid: number, name: 'SIGTERM' | 'SIGKILL') => void signals.push(name) };
  await redis.hset('nodes', 'ND_1', entry);
  await redis.hset('fleet:orders', 'm2', JSON.stringify({ id: 'o1', nodeId: 'ND_1', deadlineMs: 60_000 }));
  const stop = startOrderTaker({
    machine: 'm2',
    redis,
    livekit,
    look: async () => ({ nodeId: pid === 7 ? 'ND_1' : 'ND_2', participants: 1 }),
    makeReady: async () => async () => undefined,
    runUpgrade: null,
    log: silentLog,
    monotonicMs: () => performance.now(),
  });
  onTestFinished(stop);
  const state = async (): Promise<unknown> => (JSON.parse((await redis.hget('fleet:order-reports', 'm2')) ?? '{}') as { state?: string }).state;
  await until(async () => expect(await state()).toBe('draining'));
  expect(signals).toEqual(expected);
  pid = 8;
  await until(async () => expect(await state()).toBe('done'));
  expect(signals).toEqual(expected);
});
