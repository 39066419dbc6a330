import { expect, test } from 'vitest';
import { handOver, sayGoodbye } from '../../src/apply/goodbye.ts';
import { askFleet } from '../../src/clients/sentinel.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { until } from '../agent/fixtures.ts';
import { startRedis } from '../agent/redis.ts';
import { createFleet, masterName } from '../agent/sentinels.ts';

const [leaving, vanished, staying] = ['127.0.0.1', '127.0.0.8', '127.0.0.9'] as const;

test('the primary goes to another machine also where Sentinel first chooses one that has just vanished', async () => {
  const fleet = await createFleet();
  for (const host of [leaving, vanished, staying]) await fleet.startMachine(host, { primary: leaving, quorum: 1 });
  const redis = fleet.connect(leaving, fleet.redisPort);
  await until(async () => expect(await redis.info('replication')).toContain('connected_slaves:2'), 20_000);
  await fleet.connect(vanished, fleet.redisPort).config('SET', 'replica-priority', 1);
  const sentinel = fleet.connect(leaving, fleet.sentinelPort);
  // Sentinel learns of it at its next question, every ten seconds.
  await until(async () => expect(String(await sentinel.call('SENTINEL', 'REPLICAS', masterName))).toContain('slave-priority,1,'), 30_000);
  // The other one, too, is good enough.
  await until(async () => expect(String(await sentinel.call('SENTINEL', 'REPLICAS', masterName))).toContain('slave-priority,100,'), 30_000);
  const { settings } = parseSettings(`REDIS_PASSWORD=${'x'.repeat(32)}\nSENTINEL_PORT=${fleet.sentinelPort}\n`, {});
  if (settings === null) throw new Error('these settings are good');
  fleet.freeze(vanished);
  const after = await handOver(
    { address: leaving, staying: [] },
    {
      settings: { ...settings, REDIS_PASSWORD: '' },
      view: async () => {
        const word = await askFleet({ host: leaving, sentinelPort: fleet.sentinelPort, masterName, password: null });
        return word.kind === 'member' ? word : null;
      },
      patienceMs: 40_000,
      now: Date.now,
      signal: new AbortController().signal,
    },
  );
  expect(after.primary.host).toBe(staying);
});

test('who has left is counted by nobody', async () => {
  const redis = (await startRedis()).connect();
  await redis.hset('fleet:nodes', { m2: '{}', m3: '{}' });
  await redis.hset('fleet:sights', { m2: '17', m3: '17' });
  await redis.hset('fleet:members', { '10.0.0.2': '17', '10.0.0.3': '17' });
  const { settings } = parseSettings('', {});
  if (settings === null) throw new Error('these settings are good');
  const primary = { host: '127.0.0.1', port: redis.options.port ?? 0 };
  const fleet = { kind: 'member', primary, quorum: 1, sentinels: 1, replicas: 0, healthyReplicas: 0, registry: null } as const;
  const context = {
    settings: { ...settings, REDIS_PASSWORD: '' },
    view: async () => fleet,
    patienceMs: 5_000,
    now: Date.now,
    signal: new AbortController().signal,
  };
  await sayGoodbye({ machine: 'm2', address: '10.0.0.2' }, context);
  expect(await Promise.all(['nodes', 'sights', 'members'].map((name) => redis.hkeys(`fleet:${name}`)))).toEqual([['m3'], ['m3'], ['10.0.0.3']]);
});
