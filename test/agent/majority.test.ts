import { expect, test } from 'vitest';
import { hasMajority } from '../../src/clients/sentinel.ts';
import { until } from '../e2e/installation.ts';
import { hosts, masterName, startThree } from './sentinels.ts';

test('a Sentinel that reaches too few of the others says so', async () => {
  const fleet = await startThree();
  const [first, second, third] = hosts;
  const ask = (host: string): Promise<boolean | null> => hasMajority({ host, sentinelPort: fleet.sentinelPort, masterName, password: '' });
  await until(async () => (await ask(first)) === true, 20_000);
  fleet.freeze(second);
  fleet.freeze(third);
  await until(async () => (await ask(first)) === false, 20_000);
  expect(await ask('127.0.0.9')).toBeNull();
  fleet.thaw(second);
  await until(async () => (await ask(first)) === true, 20_000);
});
