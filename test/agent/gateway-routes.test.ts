import { expect, test } from 'vitest';
import { WAIT, servingUpstreams, wayTo } from '../../src/contract/gateway-routes.ts';
import type { MachinesSeen } from '../../src/contract/gateway-routes.ts';
import type { KnownNode } from '../../src/contract/node-record.ts';
import { nodeRecord } from './fixtures.ts';

const seenAll = { isOutOfReach: () => false, isCutOff: () => false, isQuiet: () => false };
const isM2 = (machine: string): boolean => machine === 'm2';
const m2 = nodeRecord({ machine: 'm2', nodeId: 'ND_2', signalling: 'b:1' });
const m3 = nodeRecord({ machine: 'm3', nodeId: 'ND_3', signalling: 'c:1' });

/** Where those are led who come by the path of m2, beside m3: to a room without a node, and to one on m2's node by another path. */
function waysTo(record: KnownNode, seen: Partial<MachinesSeen> = {}): (string | null)[] {
  const all = { ...seenAll, ...seen };
  return [wayTo([record, m3], { nodeId: null, machine: 'm2' }, all), wayTo([record, m3], { nodeId: 'ND_2', machine: null }, all)];
}

test('what belongs to no node goes to the machines that serve, whatever the order of their records', () => {
  expect(servingUpstreams([m3, m2], 1_000)).toEqual(['b:1', 'c:1']);
  expect(servingUpstreams([m2, m3], 1_000)).toEqual(['b:1', 'c:1']);
  for (const state of ['down', 'stopped', 'draining'] as const) expect(servingUpstreams([{ ...m2, state }, m3], 1_000)).toEqual(['c:1']);
  expect(servingUpstreams([m2, m3], 1_000, { ...seenAll, isOutOfReach: isM2 })).toEqual(['c:1']);
  expect(servingUpstreams([m2, m3], 1_000_000)).toEqual([]);
  expect(servingUpstreams([], 0)).toEqual([]);
});

test('a quiet machine gets nobody new, unless all are quiet, and keeps its path', () => {
  expect(servingUpstreams([m2, m3], 0, { ...seenAll, isQuiet: isM2 })).toEqual(['c:1']);
  expect(servingUpstreams([m2, m3], 0, { ...seenAll, isQuiet: () => true })).toEqual(['b:1', 'c:1']);
  expect(waysTo(m2, { isQuiet: isM2 })).toEqual(['b:1', 'b:1']);
});

test('the room’s own node counts before the machine of the path', () => {
  expect(wayTo([m2, m3], { nodeId: 'ND_3', machine: 'm2' }, seenAll)).toBe('c:1');
  expect(wayTo([m2, m3], { nodeId: 'ND_4', machine: 'm2' }, seenAll)).toBe('b:1');
  expect(wayTo([m2, m3], { nodeId: null, machine: 'm4' }, seenAll)).toBeNull();
  expect(wayTo([m2, m3], { nodeId: null, machine: null }, seenAll)).toBeNull();
});

test('those of a machine that serves or drains are led there', () => {
  expect(waysTo(m2)).toEqual(['b:1', 'b:1']);
  expect(waysTo({ ...m2, state: 'draining' })).toEqual(['b:1', 'b:1']);
});

test('those of a machine that is down wait, until its record names no node: then any other will do', () => {
  expect(waysTo({ ...m2, state: 'down' })).toEqual([WAIT, WAIT]);
  expect(waysTo(m2, { isOutOfReach: isM2 })).toEqual([WAIT, WAIT]);
  expect(waysTo({ ...m2, state: 'down', nodeId: null })).toEqual([null, null]);
});

test('a room of a machine that was stopped goes as its path says', () => {
  const stopped = { ...m2, state: 'stopped' } as const;
  expect(waysTo(stopped)).toEqual([WAIT, null]);
  expect(wayTo([stopped, m3], { nodeId: 'ND_2', machine: 'm3' }, seenAll)).toBe('c:1');
  expect(waysTo({ ...stopped, nodeId: null })).toEqual([null, null]);
});

test('what is for a machine that only the gateway does not reach the others pass on', () => {
  expect(waysTo(m2, { isOutOfReach: isM2, isCutOff: isM2 })).toEqual([null, null]);
});

test('those of a machine that has been down for long are led to others, though its record names a node', () => {
  expect(waysTo({ ...m2, state: 'down' }, { isGivenUp: isM2 })).toEqual([null, null]);
  expect(waysTo(m2, { isOutOfReach: isM2, isGivenUp: isM2 })).toEqual([null, null]);
});

test('a machine whose agent says nothing keeps its clients while it is in reach, until it is given up', () => {
  const silent = { ...m2, state: 'down', isSilent: true } as const;
  expect(waysTo(silent)).toEqual(['b:1', 'b:1']);
  expect(servingUpstreams([silent, m3], 0)).toEqual(['c:1']);
  expect(waysTo(silent, { isOutOfReach: isM2 })).toEqual([WAIT, WAIT]);
  expect(waysTo({ ...silent, state: 'stopped' }, { isOutOfReach: isM2 })).toEqual([WAIT, null]);
  expect(waysTo(silent, { isGivenUp: isM2 })).toEqual([null, null]);
});
