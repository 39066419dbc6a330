import { readFile, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, test } from 'vitest';
import { SETTLE_MS, openFleetMemory, settleFleet } from '../../src/agent/fleet-memory.ts';
import { nodeRecord, temporaryDirectory } from './fixtures.ts';

const NOW = 100_000;
const fresh = (machine: string) => nodeRecord({ machine, updatedAtMs: NOW - 500 });
const stale = (machine: string) => nodeRecord({ machine, updatedAtMs: NOW - 15_000 });
const statesOf = (records: readonly { machine: string; state: string }[]) => records.map(({ machine, state }) => `${machine} ${state}`);

test('a machine that is silent while others speak is down', () => {
  const settled = settleFleet({ records: [fresh('a'), stale('b')], nowMs: NOW, readableForMs: SETTLE_MS }, [fresh('a'), fresh('b')]);
  expect(statesOf(settled)).toEqual(['a serving', 'b down']);
  expect(settled.map(({ isSilent }) => isSilent)).toEqual([undefined, true]);
});

test('just after an outage of Redis silence says nothing', () => {
  const settled = settleFleet({ records: [fresh('a'), stale('b')], nowMs: NOW, readableForMs: SETTLE_MS - 1 }, [fresh('a'), fresh('b')]);
  expect(statesOf(settled)).toEqual(['a serving', 'b serving']);
});

test('when nobody speaks the known fleet stays', () => {
  const settled = settleFleet({ records: [stale('a'), stale('b')], nowMs: NOW, readableForMs: SETTLE_MS * 9 }, [
    fresh('a'),
    nodeRecord({ machine: 'b', state: 'down' }),
  ]);
  expect(statesOf(settled)).toEqual(['a serving', 'b down']);
});

test('a Redis that lost its data does not empty the fleet', () => {
  expect(statesOf(settleFleet({ records: [], nowMs: NOW, readableForMs: SETTLE_MS * 9 }, [fresh('a')]))).toEqual(['a serving']);
});

test('a removed machine goes once the others speak', () => {
  expect(statesOf(settleFleet({ records: [fresh('a')], nowMs: NOW, readableForMs: SETTLE_MS }, [fresh('a'), fresh('b')]))).toEqual(['a serving']);
});

test('what a machine said of its own end counts, however old', () => {
  const stopped = nodeRecord({ machine: 'a', state: 'stopped', updatedAtMs: 0 });
  expect(statesOf(settleFleet({ records: [stopped], nowMs: NOW, readableForMs: 0 }, [fresh('a')]))).toEqual(['a stopped']);
});

test('a machine never seen alive is not taken for serving', () => {
  expect(statesOf(settleFleet({ records: [stale('a')], nowMs: NOW, readableForMs: 0 }, []))).toEqual(['a down']);
});

test('the file is written only when something other than the time changes', async () => {
  const path = join(await temporaryDirectory(), 'fleet.json');
  const memory = openFleetMemory(path);
  expect(await memory.load()).toBeNull();
  await memory.save([fresh('a')]);
  const before = (await stat(path)).ino;
  await memory.save([{ ...fresh('a'), updatedAtMs: NOW + 1_000 }]);
  expect((await stat(path)).ino).toBe(before);
  await memory.save([{ ...fresh('a'), state: 'down' }]);
  expect(await readFile(path, 'utf8')).toContain('down');
  expect((await stat(path)).mode & 0o777).toBe(0o600);
  expect(statesOf((await openFleetMemory(path).load()) ?? [])).toEqual(['a down']);
});

test('a damaged file is as good as none', async () => {
  const path = join(await temporaryDirectory(), 'fleet.json');
  await writeFile(path, '{"a":');
  expect(await openFleetMemory(path).load()).toBeNull();
});
