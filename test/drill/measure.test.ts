import { expect, test } from 'vitest';
import { measureDrill, parseDrillWord } from '../../src/contract/drill.ts';
import type { DrillCounts, RoomAttempt } from '../../src/contract/drill.ts';
import { parseOrder } from '../../src/contract/orders.ts';

const counts: DrillCounts = {
  kind: 'counts',
  sent: 100,
  received: 100,
  last: 100,
  reconnections: 2,
  frames: 1_000,
  silent: 10,
  longestSilenceMs: 80,
  longestGapMs: 430,
  backAtMs: 12_500,
  timeline: [],
};
const room = (startedMs: number, endedMs: number, isCreated = true): RoomAttempt => ({ kind: 'room', startedMs, endedMs, isCreated, path: '' });
const seen = { struckMs: 10_000, readyMs: 10_200, isSilent: false, patienceMs: 30_000 };

test('the first room that was asked for after the fault counts, from the earliest moment at which it may have been held', () => {
  const rooms = [room(9_900, 10_300), room(10_100, 10_150), room(10_300, 14_000, false), room(11_000, 13_000), room(11_100, 12_900)];
  expect(measureDrill({ rooms, answers: [], counts }, seen)).toEqual({ gapMs: 430, roomMs: 2_900, reconnections: 2, answerMs: null, signallingMs: null });
});

test('what never comes back counts as the patience', () => {
  const rooms = [room(9_000, 9_010), room(10_300, 18_000, false)];
  const answers = [{ atMs: 10_500, ok: false }];
  expect(measureDrill({ rooms, answers, counts }, { ...seen, isSilent: true })).toEqual({
    gapMs: 30_000,
    roomMs: 30_000,
    reconnections: 2,
    answerMs: 30_000,
    signallingMs: 30_000,
  });
});

test('what answers again does so after its last silence, and the clients have their signalling from then on', () => {
  const answers = [
    { atMs: 9_990, ok: true },
    { atMs: 10_050, ok: true },
    { atMs: 10_100, ok: false },
    { atMs: 10_900, ok: true },
    { atMs: 10_950, ok: false },
    { atMs: 11_000, ok: true },
  ];
  expect(measureDrill({ rooms: [], answers, counts }, seen)).toMatchObject({ answerMs: 1_000, signallingMs: 1_500 });
  const quick = measureDrill({ rooms: [], answers: answers.slice(0, 2), counts: { ...counts, backAtMs: 0 } }, seen);
  expect(quick).toMatchObject({ answerMs: 0, signallingMs: 0 });
});

test('lines of the client’s native part are no words', () => {
  expect(parseDrillWord('{"level":30,"msg":"x"}')).toBeNull();
  expect(parseDrillWord('thread panicked')).toBeNull();
  expect(parseDrillWord('{"kind":"sound","atMs":5}')).toEqual({ kind: 'sound', atMs: 5 });
});

function orderOf(fault: unknown): string {
  return JSON.stringify({ id: 'x', untilMs: 1, fault });
}

test('an order names a fault of those that an agent can hold, and nothing else', () => {
  expect(parseOrder(orderOf({ kill: 'redis' }))).toEqual({ id: 'x', untilMs: 1, fault: { kill: 'redis' } });
  expect(parseOrder(orderOf({ cutSeconds: 20 }))).not.toBeNull();
  const wrong = [
    { kill: 'sshd' },
    { kill: 'caddy' },
    { cutSeconds: 0 },
    { cutSeconds: 61 },
    { cutSeconds: '5; reboot' },
    { kill: 'redis', cutSeconds: 5 },
    {},
    'redis',
  ];
  for (const fault of wrong) expect(parseOrder(orderOf(fault)), JSON.stringify(fault)).toBeNull();
  expect(parseOrder(JSON.stringify({ id: 'x', nodeId: 'n', deadlineMs: 5 }))).toEqual({ id: 'x', nodeId: 'n', deadlineMs: 5 });
});
