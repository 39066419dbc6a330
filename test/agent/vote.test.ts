import type { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { startSentinelVoter } from '../../src/agent/sentinel-voter.ts';
import { createSteady } from '../../src/agent/steady.ts';
import { startWitness } from '../../src/agent/witness.ts';
import { openSentinelControl } from '../../src/clients/sentinel-control.ts';
import type { SentinelControl } from '../../src/clients/sentinel-control.ts';
import { paceOf, voteOf } from '../../src/contract/vote.ts';
import { nodeRecord, silentLog, until } from './fixtures.ts';
import { createFleet, masterName, othersOf } from './sentinels.ts';
import type { Fleet } from './sentinels.ts';

const [gateway, first, second] = ['127.0.0.5', '127.0.0.6', '127.0.0.7'] as const;
const machineOf = (host: string): string => `m${host.replaceAll('.', '-')}`;
const monotonicMs = (): number => performance.now();

function control({ sentinelPort: port }: Fleet, host: string): SentinelControl {
  const sentinel = openSentinelControl({ host, port, masterName, password: '', downAfterMs: 500, failoverTimeoutMs: 3_000 });
  onTestFinished(() => sentinel.close());
  return sentinel;
}

async function register(redis: Redis, host: string): Promise<void> {
  await redis.hset('fleet:nodes', machineOf(host), JSON.stringify(nodeRecord({ machine: machineOf(host), signalling: `${host}:7880` })));
}

test('votes are odd in number, and a majority decides', () => {
  const votes = [1, 2, 3, 4, 5].map((machines) => ({ ...voteOf(machines), votes: machines + (voteOf(machines).hasWitness ? 1 : 0) }));
  expect(votes.map((one) => [one.votes, one.quorum])).toEqual([
    [1, 1],
    [3, 2],
    [3, 2],
    [5, 3],
    [5, 3],
  ]);
});

test('Sentinels of a small fleet look often, those of a large one as seldom as Sentinel itself does', () => {
  expect([1, 3, 10, 50, 1_000].map((machines) => Object.values(paceOf(machines)))).toEqual([
    [500, 600],
    [500, 600],
    [500, 2_000],
    [1_000, 10_000],
    [1_000, 10_000],
  ]);
});

test('a replica that has just come may become the primary within seconds', async () => {
  const fleet = await createFleet();
  await fleet.startMachine(first, { primary: first, quorum: 3 });
  const redis = fleet.connect(first, fleet.redisPort);
  await register(redis, first);
  onTestFinished(startSentinelVoter({ machine: machineOf(first), redis, sentinel: control(fleet, first), memory: null, log: silentLog, monotonicMs }));
  const [sentinel, view] = [fleet.connect(first, fleet.sentinelPort), control(fleet, first)];
  await until(async () => expect(await sentinel.call('SENTINEL', 'DEBUG')).toEqual(expect.arrayContaining(['600', '500'])), 20_000);
  // Who votes is changed only when the registry has not changed for a while.
  expect((await view.view())?.quorum).toBe(3);
  await fleet.startMachine(second, { primary: first, quorum: 1 });
  await until(async () => expect(await redis.info('replication')).toContain('connected_slaves:1'), 20_000);
  const atMs = performance.now();
  await until(async () => expect((await view.view())?.replicas).toBe(1), 20_000);
  // Sentinel itself asks every ten seconds.
  expect(performance.now() - atMs).toBeLessThan(3_000);
}, 60_000);

test('what passes is not steady', () => {
  let nowMs = 0;
  const isSteady = createSteady(5, () => nowMs);
  const at = (ms: number, word: string): boolean => {
    nowMs = ms;
    return isSteady(word);
  };
  expect([at(0, 'a'), at(4, 'a'), at(5, 'a'), at(6, 'b'), at(7, 'a'), at(11, 'a'), at(12, 'a')]).toEqual([false, false, true, false, false, false, true]);
});

test('the witness votes beside two machines and is forgotten beside one; who left is forgotten once it is silent', async () => {
  const fleet = await createFleet();
  await Promise.all([first, second].map((host) => fleet.startMachine(host, { primary: first, quorum: 1 })));
  await fleet.startWitness(gateway);
  const redis = fleet.connect(first, fleet.redisPort);
  const known = (host: string): Promise<string[]> => othersOf(fleet.connect(host, fleet.sentinelPort));
  for (const host of [first, second]) {
    await register(redis, host);
    const own = { machine: machineOf(host), redis: fleet.connect(first, fleet.redisPort), sentinel: control(fleet, host), memory: null };
    onTestFinished(startSentinelVoter({ ...own, log: silentLog, monotonicMs }));
  }
  const address = `${gateway}:${fleet.sentinelPort}`;
  onTestFinished(startWitness({ redis: fleet.connect(first, fleet.redisPort), sentinel: control(fleet, gateway), address, log: silentLog, monotonicMs }));

  const views = [gateway, first, second].map((host) => control(fleet, host));
  const quorums = async (): Promise<unknown> => Promise.all(views.map(async (one) => (await one.view())?.quorum ?? null));
  await until(async () => expect(await quorums()).toEqual([2, 2, 2]), 20_000);
  await until(async () => expect(await known(first)).toEqual([gateway, second]), 10_000);
  expect(await redis.get('fleet:witness')).toBe(address);

  // The second machine leaves without its Sentinel's end: it still speaks, so it is not forgotten; the witness, who is silent, is.
  await redis.hdel('fleet:nodes', machineOf(second));
  await until(async () => expect(await quorums()).toEqual([null, 1, 2]), 20_000);
  await until(async () => expect(await known(first)).toEqual([second]), 30_000);
  expect(await redis.get('fleet:witness')).toBeNull();
  fleet.freeze(second);
  await until(async () => expect(await known(first)).toEqual([]), 30_000);
  await until(async () => expect(await redis.get('fleet:sentinel-turn')).toBeNull(), 10_000);
}, 120_000);

test('a machine that ends gives its own turn back, and nobody else’s', async () => {
  const fleet = await createFleet();
  await fleet.startMachine(first, { primary: first, quorum: 1 });
  const redis = fleet.connect(first, fleet.redisPort);
  const turnAfter = async (holder: string): Promise<string | null> => {
    await redis.set('fleet:sentinel-turn', holder);
    await startSentinelVoter({ machine: machineOf(first), redis, sentinel: control(fleet, first), memory: null, log: silentLog, monotonicMs })();
    return redis.get('fleet:sentinel-turn');
  };
  expect(await turnAfter(machineOf(first))).toBeNull();
  expect(await turnAfter(machineOf(second))).toBe(machineOf(second));
}, 30_000);
