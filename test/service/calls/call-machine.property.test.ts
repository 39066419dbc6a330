import * as fc from 'fast-check';
import { expect, it } from 'vitest';
import { deadlineOf, isInside, takesPart } from '../../../src/service/calls/call.ts';
import type { Call } from '../../../src/service/calls/call.ts';
import { advance, beginCall } from '../../../src/service/calls/call-machine.ts';
import type { Announcement } from '../../../src/service/calls/call-draft.ts';
import { at, stories } from './random-actions.ts';

const START_MS = 1_000_000;
const ENOUGH_RUNS = { numRuns: 3_000 };

/** What has to hold of every call at every moment: its name, where it does not. */
function brokenIn(call: Call, nowMs: number): string[] {
  const { state, reason, startedAtMs, endedAtMs, parties, mode, maxParties, caller, ringMs } = call;
  const inside = parties.filter((one) => isInside(one.state));
  const ringing = parties.filter((one) => one.state === 'ringing');
  const rules: Record<string, boolean> = {
    'an ended call has a reason and a time, no other has': (state === 'ended') === (reason !== null) && (state === 'ended') === (endedAtMs !== null),
    'nobody takes part in an ended call, and nothing happens to it any more': state !== 'ended' || (!parties.some(takesPart) && deadlineOf(call) === null),
    'while it rings the caller waits, somebody is asked, and nobody else is in':
      state !== 'ringing' || (ringing.length > 0 && inside.length === 1 && inside[0]?.identity === caller && startedAtMs === null),
    'an active call began, and is of two at least, a group of one':
      state !== 'active' || (startedAtMs !== null && inside.length >= (mode === 'direct' ? 2 : 1)),
    'a direct call is never of three': mode === 'group' || parties.filter(takesPart).length <= 2,
    'who rings is missed in time': ringing.every((one) => one.deadlineMs !== null && one.deadlineMs <= one.invitedAtMs + ringMs),
    'who left is not waited for': parties.every((one) => takesPart(one) || (one.deadlineMs === null && one.leftAtMs !== null)),
    'who takes part has not left': parties.every((one) => !takesPart(one) || one.leftAtMs === null),
    'who accepted into a call that goes on is waited for, and not for ever': parties.every(
      (one) => state !== 'active' || one.state !== 'accepted' || one.deadlineMs !== null,
    ),
    'an absence has its reason, a presence none': parties.every((one) => one.state !== 'joined' || (one.deadlineMs === null) === (one.reason === null)),
    'each is there once': new Set(parties.map(({ identity }) => identity)).size === parties.length,
    'no more than it takes': maxParties === 0 || parties.filter(takesPart).length <= maxParties,
    'nobody who takes part is thrown out': parties.every((one) => !one.mustEvict || !takesPart(one)),
    'no time is of the future': [startedAtMs, endedAtMs, ...parties.map(({ leftAtMs }) => leftAtMs)].every((time) => (time ?? 0) <= nowMs),
    'a call that is over leaves no room behind': state !== 'ended' || call.mustClose,
  };
  return Object.entries(rules).flatMap(([name, holds]) => (holds ? [] : [name]));
}

it('no order of users, time-outs and webhooks leads to an impossible state', () => {
  const reached = new Map<string, number>();
  fc.assert(
    fc.property(stories, ({ wanted, happenings }) => {
      let nowMs = START_MS;
      const begun = beginCall(wanted, nowMs);
      if (typeof begun === 'string') return;
      let { call } = begun;
      const told: Announcement[] = [...begun.announcements];
      expect(brokenIn(call, nowMs)).toEqual([]);
      for (const { afterMs, action } of happenings) {
        nowMs += afterMs;
        const before = JSON.stringify(call);
        const step = advance(call, at(action, nowMs), nowMs);
        expect(JSON.stringify(call), 'what is given is not changed').toBe(before);
        if (typeof step === 'string') {
          reached.set(step, (reached.get(step) ?? 0) + 1);
          continue;
        }
        if (call.state === 'ended') expect(step.announcements, 'after its end nothing is told').toEqual([]);
        ({ call } = step);
        told.push(...step.announcements);
        expect(brokenIn(call, nowMs), JSON.stringify({ action, call }, null, 1)).toEqual([]);
      }
      const end = call.reason ?? call.state;
      reached.set(end, (reached.get(end) ?? 0) + 1);
      expect(wrongIn(told, call)).toEqual([]);
    }),
    ENOUGH_RUNS,
  );
  // It went everywhere.
  for (const end of ['completed', 'cancelled', 'rejected', 'busy', 'missed', 'failed', 'active', 'ringing', 'FULL', 'ENDED', 'NOT_YOURS', 'WRONG_STATE'])
    expect(reached.get(end) ?? 0, `${end}: ${JSON.stringify([...reached])}`).toBeGreaterThan(10);
});

/** What a listener is told makes sense by itself. */
function wrongIn(told: readonly Announcement[], call: Call): string[] {
  const wrong: string[] = [];
  const phone = new Map<string, 'ringing' | 'in' | 'out'>([['ann', 'in']]);
  const before: Record<string, ReadonlyArray<string | undefined>> = {
    'call.ringing': ['out', undefined],
    'call.accepted': ['ringing', 'out'],
    'call.rejected': ['ringing'],
    'call.missed': ['ringing'],
    'call.cancelled': ['ringing'],
    'call.joined': ['in'],
    'call.left': ['in'],
  };
  const after: Record<string, 'ringing' | 'in' | 'out'> = { 'call.ringing': 'ringing', 'call.accepted': 'in', 'call.joined': 'in' };
  for (const { type, parties } of told) {
    const allowed = before[type];
    for (const identity of parties) {
      if (allowed !== undefined && !allowed.includes(phone.get(identity))) wrong.push(`${type} of ${identity}, who is ${phone.get(identity)}`);
      if (allowed !== undefined || type === 'call.busy') phone.set(identity, after[type] ?? 'out');
    }
  }
  // A phone that was told to ring was told to stop.
  for (const { identity, state } of call.parties) {
    const expected = state === 'ringing' ? 'ringing' : isInside(state) ? 'in' : 'out';
    if (phone.get(identity) !== expected) wrong.push(`${identity} is ${state}, was told ${phone.get(identity)}`);
  }
  const count = (type: string): number => told.filter((one) => one.type === type).length;
  if (count('call.ended') !== (call.state === 'ended' ? 1 : 0)) wrong.push(`ended told ${count('call.ended')} times`);
  if (count('call.started') !== (call.startedAtMs === null ? 0 : 1)) wrong.push(`started told ${count('call.started')} times`);
  return wrong;
}

it('time alone ends every call that nobody is seen in; a moment that comes twice changes nothing more', () => {
  fc.assert(
    fc.property(stories, ({ wanted, happenings }) => {
      let nowMs = START_MS;
      const begun = beginCall(wanted, nowMs);
      if (typeof begun === 'string') return;
      let { call } = begun;
      for (const { afterMs, action } of happenings) {
        nowMs += afterMs;
        const step = advance(call, at(action, nowMs), nowMs);
        if (typeof step !== 'string') ({ call } = step);
      }
      for (let ticks = 0; deadlineOf(call) !== null; ticks++) {
        expect(ticks).toBeLessThan(20);
        nowMs = Math.max(nowMs, deadlineOf(call) ?? 0);
        const step = advance(call, { kind: 'tick', isDeaf: false }, nowMs);
        if (typeof step === 'string') throw new Error(step);
        expect(advance(step.call, { kind: 'tick', isDeaf: false }, nowMs)).toEqual({ call: step.call, announcements: [] });
        ({ call } = step);
      }
      if (call.state !== 'ended') expect(call.parties.some(({ state, deadlineMs }) => state === 'joined' && deadlineMs === null)).toBe(true);
    }),
    ENOUGH_RUNS,
  );
});
