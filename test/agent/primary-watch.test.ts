import { join } from 'node:path';
import { pino } from 'pino';
import { expect, onTestFinished, test } from 'vitest';
import { startPrimaryWatch } from '../../src/agent/primary-watch.ts';
import { temporaryDirectory, until } from './fixtures.ts';
import { hosts, masterName, startThree } from './sentinels.ts';

const [first, second] = hosts;

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
