import type { Redis } from 'ioredis';
import { expect, test } from 'vitest';
import { stopLivekit } from '../../src/apply/drain.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import type { ServiceManager } from '../../src/supervisor/service-manager.ts';
import { planTopology } from '../../src/topology/topology.ts';
import { nodeRecord } from '../agent/fixtures.ts';
import { startRedis } from '../agent/redis.ts';
import { idleManager } from './idle-manager.ts';

/** A supervisor whose LiveKit ends at the third look, and is started anew unless it was told to stop. */
function supervise(): { manager: ServiceManager; done: string[] } {
  const done: string[] = [];
  let looks = 0;
  const manager: ServiceManager = {
    ...idleManager,
    stop: async (part) => void done.push(`stop ${part}`),
    beginStop: async (part) => void done.push(`begin-stop ${part}`),
    kill: async (part) => void done.push(`kill ${part}`),
    async status() {
      looks += 1;
      const one = { part: 'livekit', uptimeSeconds: 1, exits: 0, lastExit: null } as const;
      if (looks <= 3) return [{ ...one, state: done.length > 0 ? 'stopping' : 'running', pid: 7 }];
      return [done.length > 0 ? { ...one, state: 'stopped', pid: null } : { ...one, state: 'running', pid: 8 }];
    },
  };
  return { manager, done };
}

/** Has a LiveKit with this entry in the registry stopped. */
async function stopOne(entry: string | null, signal: AbortSignal): Promise<{ redis: Redis; done: string[]; stopped: Promise<void> }> {
  const redis = (await startRedis()).connect();
  const { settings } = parseSettings('NODES=192.168.1.2\n', {});
  if (settings === null) throw new Error('these settings are good');
  const topology = planTopology(settings, 'media', { addresses: ['192.168.1.2'], hasSystemd: false, hasNft: true });
  await redis.ping();
  if (entry !== null) await redis.hset('nodes', 'ND_1', entry);
  const { manager, done } = supervise();
  const records = [nodeRecord({ machine: topology.machine })];
  const stopped = stopLivekit(
    {
      settings: { ...settings, REDIS_PASSWORD: '', METRICS_PORT: 1 },
      topology,
      manager,
      emit: () => undefined,
      now: Date.now,
      signal,
    },
    {
      deadlineMs: 60_000,
      fleet: {
        kind: 'member',
        primary: { host: '127.0.0.1', port: redis.options.port ?? 0 },
        quorum: 1,
        sentinels: 1,
        replicas: 0,
        healthyReplicas: 0,
        registry: { records, draining: [], nowMs: 0 },
      },
    },
  );
  return { redis, done, stopped };
}

test.each([
  ['that serves is told to end', '\u0030\u0001', ['begin-stop livekit']],
  ['that others keep new rooms away from is told to end', '\u0030\u0001\u0030\u0002', ['begin-stop livekit']],
  ['that has no entry is told to end', null, ['begin-stop livekit']],
  ['that was told to end before is only waited for, and the one in its place is stopped', '\u000a\u0004ND_1\u0030\u0002', ['stop livekit']],
])('a LiveKit %s', async (_name, entry, expected) => {
  const { redis, done, stopped } = await stopOne(entry, new AbortController().signal);
  await stopped;
  expect(done).toEqual(expected);
  expect(await redis.smembers('fleet:draining')).toEqual(['ND_1']);
});

test('a LiveKit that was not told yet is let be where the command is interrupted', async () => {
  const { redis, done, stopped } = await stopOne('\u0030\u0001', AbortSignal.abort(new Error('interrupted')));
  await expect(stopped).rejects.toThrow('interrupted');
  expect(done).toEqual([]);
  expect(await redis.smembers('fleet:draining')).toEqual([]);
});
