import { expect, test } from 'vitest';
import { areMostHeard, findQuiet, findSilent, findVanished, parseSights } from '../../src/contract/sight.ts';
import type { Sight } from '../../src/contract/sight.ts';
import { nodeRecord } from './fixtures.ts';

const NOW = 1_000_000;
/** m4 wrote its record last 3 s ago; the others just now. */
const records = ['m2', 'm3', 'm4'].map((machine) => nodeRecord({ machine, nodeId: `ND_${machine}`, updatedAtMs: machine === 'm4' ? NOW - 3_000 : NOW }));

function says(machine: string, unreachable: readonly string[], agoMs = 100): Sight {
  return { machine, unreachable, atMs: NOW - agoMs };
}

function vanished(sights: readonly Sight[], of = records): string[] {
  return findVanished(findSilent(of, sights, NOW), sights, NOW).map((record) => record.machine);
}

/** The records with another one of this machine. */
function changed(change: object, machine = 'm4'): ReturnType<typeof nodeRecord>[] {
  return records.map((one) => (one.machine === machine ? { ...one, ...change } : one));
}

test('a machine that all others miss has vanished', () => {
  expect(vanished([says('gateway', ['m4']), says('m2', ['m4']), says('m3', ['m4']), says('m4', [], 3_000)])).toEqual(['m4']);
});

test.each([
  ['only the gateway misses it', [says('gateway', ['m4']), says('m2', []), says('m3', [])]],
  ['one machine reaches it', [says('gateway', ['m4']), says('m2', ['m4']), says('m3', [])]],
  ['it speaks itself', [says('gateway', ['m4']), says('m2', ['m4']), says('m3', ['m4']), says('m4', ['gateway', 'm2', 'm3'])]],
  ['half of the others are heard', [says('gateway', ['m4']), says('m2', ['m4'], 5_000), says('m3', ['m4'], 5_000)]],
  ['nobody is heard', []],
])('a machine stays when %s', (_name, sights) => {
  expect(vanished(sights)).toEqual([]);
});

test('a machine stays while its record is young, and once its record names no node', () => {
  const all = [says('gateway', ['m4']), says('m2', ['m4']), says('m3', ['m4'])];
  expect(vanished(all, changed({ updatedAtMs: NOW - 1_500 }))).toEqual([]);
  expect(vanished(all, changed({ nodeId: null, state: 'down' }))).toEqual([]);
});

test('who serves and has fallen silent is quiet', () => {
  const words = [says('m3', [], 2_500), says('m4', [], 2_500), says('gateway', [])];
  const quiet = findQuiet(changed({ state: 'down' }), words, NOW);
  expect(quiet.map((record) => record.machine)).toEqual(['m3']);
});

test('who is off for long, or has stopped, is not waited for', () => {
  const of = changed({ state: 'stopped' }, 'm3');
  expect(vanished([says('gateway', ['m4']), says('m2', ['m4'])], of)).toEqual(['m4']);
  expect(vanished([says('gateway', ['m4']), says('m2', ['m4']), says('m9', [], 11 * 60_000)], of)).toEqual(['m4']);
  expect(vanished([says('m2', ['m4']), says('gateway', [], 60_000)], of)).toEqual([]);
});

test.each([
  ['all but one', ['gateway', 'm2', 'm3'], true],
  ['half, as a primary and the gateway do when they are cut off with each other', ['gateway', 'm2'], false],
  ['a primary alone', ['m2'], false],
])('most machines are heard, or not: %s', (_name, heard, expected) => {
  const words = ['gateway', 'm2', 'm3', 'm4'].map((machine) => says(machine, [], heard.includes(machine) ? 100 : 3_000));
  expect(areMostHeard(records, words, NOW)).toBe(expected);
  expect(areMostHeard([], [], NOW)).toBe(false);
});

test('what is no word is left out', () => {
  expect(parseSights({ m2: '17 m3  m4', m3: '18 ', m4: 'x m2', m5: '' })).toEqual([
    { machine: 'm2', atMs: 17, unreachable: ['m3', 'm4'] },
    { machine: 'm3', atMs: 18, unreachable: [] },
  ]);
});
