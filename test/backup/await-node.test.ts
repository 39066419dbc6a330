import { BinaryWriter } from '@bufbuild/protobuf/wire';
import { describe, expect, it } from 'vitest';
import { awaitNode } from '../../src/apply/await-node.ts';
import { nodeStamp } from '../../src/contract/livekit-records.ts';
import { NODES_KEY } from '../../src/contract/node-record.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { planTopology } from '../../src/topology/topology.ts';
import { nodeRecord } from '../agent/fixtures.ts';
import { password, startRedis } from './redis-processes.ts';

async function start(seconds: number): Promise<{ redis: Awaited<ReturnType<typeof startRedis>>['redis']; wait: () => Promise<void>; machine: string }> {
  const { redis, port } = await startRedis();
  const { settings } = parseSettings(`REDIS_PORT=${port}\nREDIS_PASSWORD=${password}\nHEALTH_TIMEOUT=${seconds}\n`, {});
  if (settings === null) throw new Error('no settings');
  const topology = planTopology(settings, 'all', { addresses: [], hasSystemd: false, hasNft: false });
  const manager = { tailLog: async () => 'its last lines' };
  const wait = (): Promise<void> => awaitNode({ settings, topology, manager, now: () => performance.now(), signal: new AbortController().signal });
  return { redis, wait, machine: topology.machine };
}

const record = (machine: string, aheadMs: number): string =>
  JSON.stringify(nodeRecord({ machine, nodeId: 'ND_1', state: 'serving', updatedAtMs: Date.now() + aheadMs }));

const stamp = (agoSeconds: number): Uint8Array => nodeStamp(Math.floor(Date.now() / 1000) - agoSeconds);
const entry = (agoSeconds: number): Buffer => Buffer.concat([new BinaryWriter().tag(1, 2).string('ND_1').finish(), stamp(agoSeconds)]);

/** A real Redis, in which the agent and LiveKit write what they write. */
describe('rooms’ path after a restore', () => {
  it('is there once the agent has said so since, and Redis names LiveKit freshly', async () => {
    const { redis, wait, machine } = await start(30);
    const steps: string[] = [];
    const waiting = wait().then(() => steps.push('well'));
    const step = async (name: string, work: () => Promise<unknown>): Promise<void> => {
      await work();
      steps.push(name);
      await new Promise((resolve) => setTimeout(resolve, 300));
    };
    await step('nothing', async () => undefined);
    await step('a record of before', () => redis.hset(NODES_KEY, machine, record(machine, -5_000)));
    await step('an entry', () => redis.hset('nodes', 'ND_1', entry(0)));
    await step('an old entry', () => redis.hset('nodes', 'ND_1', entry(6)));
    await step('a record of now', () => redis.hset(NODES_KEY, machine, record(machine, 0)));
    // As the agent does while Redis's primary is replaced.
    await step('an old entry that is kept', () => redis.hset('nodes', 'ND_1', Buffer.concat([entry(6), stamp(1)])));
    await step('a new entry', () => redis.hset('nodes', 'ND_1', entry(0)));
    await waiting;
    expect(steps).toEqual(['nothing', 'a record of before', 'an entry', 'an old entry', 'a record of now', 'an old entry that is kept', 'a new entry', 'well']);
  });

  it('is not waited for for ever', async () => {
    const { wait } = await start(1);
    await expect(wait()).rejects.toMatchObject({ code: 'NOT_HEALTHY', params: { seconds: 1, log: 'its last lines' } });
  });
});
