import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { openFleetMemory } from '../../src/agent/fleet-memory.ts';
import { startAgent } from '../../src/agent/start-agent.ts';
import { freePorts } from '../e2e/installation.ts';
import { agentConfig, agentEnvironment, nodeRecord, temporaryDirectory, until } from './fixtures.ts';
import { hosts, masterName, startThree } from './sentinels.ts';
import type { Fleet } from './sentinels.ts';

const [first, second, third] = hosts;
const recordOf = (host: string) => nodeRecord({ machine: `m${host.replaceAll('.', '-')}`, signalling: `${host}:7880` });

/** A gateway's agent whose configuration names the first machine only; gives whether it reaches Redis. */
async function startGateway(fleet: Fleet, stateDir: string): Promise<() => Promise<boolean>> {
  const [port = 0] = await freePorts(1);
  const redis = { sentinels: [{ host: first, port: fleet.sentinelPort }], masterName, password: '', direct: null };
  const stop = await startAgent(agentConfig({ fleet: masterName, port, stateDir, redis, gateway: { webhooks: null } }), agentEnvironment);
  onTestFinished(stop);
  return async () => ((await (await fetch(`http://127.0.0.1:${port}/healthz`)).json()) as { redis: boolean }).redis;
}

const listeners = async (redis: Redis): Promise<unknown> => (await redis.pubsub('NUMSUB', 'fleet:changed'))[1];

/** Redis numbers its clients in the order in which they come. */
const newestListener = async (redis: Redis): Promise<number> =>
  Math.max(...[...String(await redis.call('CLIENT', 'LIST', 'TYPE', 'pubsub')).matchAll(/^id=(\d+)/gm)].map((one) => Number(one[1])));

test('a gateway starts while the one machine that it was told of is off', async () => {
  const fleet = await startThree();
  const stateDir = join(await temporaryDirectory(), 'state');
  await mkdir(stateDir);
  await openFleetMemory(join(stateDir, 'fleet.json')).save(hosts.map(recordOf));
  fleet.freeze(first);
  const isReady = await startGateway(fleet, stateDir);
  // On busy cores the two that are left may stand for election at once, more than once.
  await until(async () => expect(await isReady()).toBe(true), 60_000);
}, 120_000);

test('a gateway that saw the fleet grow follows its primary when the first machine vanishes, with both connections', async () => {
  const fleet = await startThree();
  const redis = fleet.connect(first, fleet.redisPort);
  await redis.hset('fleet:nodes', recordOf(first).machine, JSON.stringify(recordOf(first)));
  const isReady = await startGateway(fleet, join(await temporaryDirectory(), 'state'));
  await until(async () => expect(await listeners(redis)).toBe(1), 10_000);
  const before = await newestListener(redis);
  for (const host of hosts) await redis.hset('fleet:nodes', recordOf(host).machine, JSON.stringify(recordOf(host)));
  await redis.publish('fleet:changed', 'm');
  // The connections are made anew.
  await until(async () => expect([(await newestListener(redis)) > before, await listeners(redis)]).toEqual([true, 1]), 10_000);
  fleet.freeze(first);
  const rest = [fleet.connect(second, fleet.redisPort), fleet.connect(third, fleet.redisPort)];
  await until(async () => expect(await Promise.all(rest.map(listeners))).toContain(1), 30_000);
  await until(async () => expect(await isReady()).toBe(true), 10_000);
}, 90_000);
