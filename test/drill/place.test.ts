import { expect, test } from 'vitest';
import { placeFault } from '../../src/cli/drill-fault.ts';
import type { DrillName } from '../../src/contract/drill.ts';
import type { NodeRecord } from '../../src/contract/node-record.ts';
import { desireFrom } from '../golden/render.ts';

const machine = (number: number): NodeRecord => ({
  machine: `m192-168-1-${number}`,
  signalling: `192.168.1.${number}:7880`,
  nodeId: `ND_${number}`,
  version: '1.13.5',
  state: 'serving',
  keyFingerprint: '',
  updatedAtMs: 0,
});
/** Machine 1 of the guide, and one that does everything. */
const gateway = { ...desireFrom('DOMAIN=meet.example.com\n').topology, machine: 'm192-168-1-1', role: 'gateway' as const };
const whole = { ...gateway, machine: 'm192-168-1-2', role: 'all' as const };

function place(name: DrillName, numbers: readonly number[], where: { topology?: typeof gateway | typeof whole; machine?: string } = {}): string {
  const fleet = { records: numbers.map(machine), primary: '192.168.1.2' };
  const placed = placeFault(name, fleet, { topology: where.topology ?? gateway, machine: where.machine });
  return `${placed.machine} ${placed.meeting}`.replaceAll('m192-168-1-', '');
}

test('faults of a media machine spare the one with the primary, and the meeting is where the fault is', () => {
  expect(place('livekit', [2, 3, 4])).toBe('3 3');
  expect(place('cut', [2, 3, 4])).toBe('3 3');
  expect(place('agent', [2, 3, 4], { machine: '192.168.1.4' })).toBe('4 4');
  expect(place('livekit', [2, 3], { machine: 'm192-168-1-2' })).toBe('2 2');
});

test('those of the primary are on its machine, those of machine 1 here', () => {
  expect(place('redis', [2, 3, 4])).toBe('2 3');
  expect(place('cut-primary', [2, 3, 4])).toBe('2 2');
  expect(place('caddy', [2, 3, 4])).toBe('1 3');
});

test('on the only media machine processes may end, but nobody can be cut off', () => {
  expect(place('livekit', [2])).toBe('2 2');
  expect(place('redis', [2])).toBe('2 2');
  expect(() => place('cut', [2])).toThrow('DRILL_NEEDS_TWO');
});

test('a machine with the clients is not cut off, and spared where there is another', () => {
  expect(place('cut', [2, 3], { topology: whole })).toBe('3 3');
  expect(() => place('cut-primary', [2, 3], { topology: whole })).toThrow('DRILL_NOT_HERE');
});

test('unknown machines and missing parts are named', () => {
  expect(() => place('cut', [2, 3], { machine: '192.168.1.9' })).toThrow('UNKNOWN_MACHINE');
  const own = { ...gateway, parts: gateway.parts.filter((part) => part !== 'service') };
  expect(() => place('service', [2, 3], { topology: own })).toThrow('DRILL_NO_PART');
});
