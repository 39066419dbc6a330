import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import type { PrimaryWatch } from '../../src/agent/primary-watch.ts';
import { startPrimaryWatch } from '../../src/agent/primary-watch.ts';
import { temporaryDirectory, until } from './fixtures.ts';
import { hosts, masterName, startThree } from './sentinels.ts';

const [first, second, third] = hosts;

test('a primary that comes back after the others have replaced it is a replica before Sentinel would make it one', async () => {
  const fleet = await startThree();
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

test('a new primary is named by the Sentinel that leads the replacement before that one announces its end', async () => {
  const fleet = await startThree();
  const port = fleet.redisPort;
  const ended: string[] = [];
  const watches: PrimaryWatch[] = [];
  let announced = 0;
  for (const host of [second, third]) {
    const limits = { downAfterMs: 500, failoverTimeoutMs: 3_000 };
    const watch = startPrimaryWatch({
      sentinel: { host, port: fleet.sentinelPort, masterName, password: '', ...limits },
      own: host,
      endConnections: async (address) => void ended.push(address),
      path: join(await temporaryDirectory(), 'primary'),
      log: pino({ level: 'silent' }),
    });
    onTestFinished(() => watch.stop());
    await until(async () => expect(watch.names({ host: first, port })).toBe(true));
    watches.push(watch);
    const listener = fleet.connect(host, fleet.sentinelPort);
    // It is not promoted, and does not follow the one that is, for which the Sentinel that leads waits three seconds.
    const found = async (): Promise<unknown> => listener.call('SENTINEL', 'REPLICAS', masterName);
    if (host === second) {
      await fleet.connect(third, port).config('SET', 'replica-priority', '0');
      await fleet.connect(third, port).call('ACL', 'SETUSER', 'default', '-replicaof', '-slaveof');
    }
    await until(async () => expect(JSON.stringify(await found())).toContain('"slave-priority","0"'), 20_000);
    await listener.subscribe('+switch-master');
    listener.on('message', () => (announced += 1));
  }
  fleet.freeze(first);
  await until(async () => expect(watches.map((watch) => watch.names({ host: second, port }))).toEqual([true, true]), 20_000);
  expect(announced).toBe(1);
  await until(async () => expect(ended).toEqual([first, first]));
  await until(async () => expect(announced).toBe(2), 10_000);
}, 90_000);
