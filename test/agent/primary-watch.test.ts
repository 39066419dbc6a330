import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startPrimaryWatch } from '../../src/agent/primary-watch.ts';
import { temporaryDirectory, until } from './fixtures.ts';
import { createFleet, masterName, othersOf } from './sentinels.ts';

const hosts = ['127.0.0.2', '127.0.0.3', '127.0.0.4'] as const;
const [first, second] = hosts;

test('a primary that comes back after the others have replaced it is a replica before Sentinel would make it one', async () => {
  const fleet = await createFleet();
  await Promise.all(hosts.map((host) => fleet.startMachine(host, { primary: first, quorum: 2 })));
  for (const host of hosts) {
    const sentinel = fleet.connect(host, fleet.sentinelPort);
    await until(async () => expect(await othersOf(sentinel)).toHaveLength(2), 15_000);
  }
  await until(async () => expect(await fleet.connect(first, fleet.redisPort).info('replication')).toContain('connected_slaves:2'), 15_000);
  const limits = { downAfterMs: 500, failoverTimeoutMs: 3_000 };
  const ended: string[] = [];
  const said: string[] = [];
  const watch = startPrimaryWatch({
    sentinel: { host: first, port: fleet.sentinelPort, masterName, password: '', ...limits },
    own: first,
    endConnections: async (host) => void ended.push(host),
    path: join(await temporaryDirectory(), 'primary'),
    log: pino({}, { write: (line: string) => void said.push(line) }),
  });
  onTestFinished(() => watch.stop());
  const port = fleet.redisPort;
  await until(async () => expect(watch.names({ host: first, port })).toBe(true));
  fleet.freeze(first);
  await until(async () => {
    const [address] = (await fleet.connect(second, fleet.sentinelPort).call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', masterName)) as string[];
    expect(address).not.toBe(first);
  }, 20_000);
  fleet.thaw(first);
  const former = fleet.connect(first, port);
  await until(async () => expect(ended).toEqual([first]), 20_000);
  // Later, Sentinel would do it too.
  await until(async () => expect(said.join('')).toContain('former primary made a replica'));
  expect((await former.role())[0]).toBe('slave');
  expect(await former.set('written', 'by nobody').catch(String)).toContain('READONLY');
});
