import * as fc from 'fast-check';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { deadlineOf } from '../../../src/service/calls/call.ts';
import type { Call } from '../../../src/service/calls/call.ts';
import { advance, beginCall } from '../../../src/service/calls/call-machine.ts';
import type { Action } from '../../../src/service/calls/call-machine.ts';
import { openStore } from '../../../src/service/store/store.ts';
import { temporaryDirectory } from '../fixtures.ts';
import { at, stories } from './random-actions.ts';

const START_MS = 1_000_000;

it('a call is the same after any number of restarts, and its next deadline is known', async () => {
  const directory = await temporaryDirectory();
  let number = 0;
  await fc.assert(
    fc.asyncProperty(stories, fc.array(fc.boolean(), { minLength: 40, maxLength: 40 }), async ({ wanted, happenings }, restarts) => {
      // Busy is who is in another call: a store of one call knows none.
      const { maxParties, invitees, ...rest } = { ...wanted, invitees: wanted.invitees.map((one) => ({ ...one, isBusy: false })) };
      const path = join(directory, `${number++}.db`);
      let store = await openStore(path);
      const room = { id: 'c1', name: 'c1', type: 'video', maxParticipants: maxParties, emptyTimeout: null, metadata: '', createdAtMs: START_MS } as const;
      const added = await store.calls.add(room, { ...rest, invitees: invitees.map(({ identity }) => identity) }, null);
      const begun = beginCall({ maxParties, invitees, ...rest }, START_MS);
      let [nowMs, call]: [number, Call | null] = [START_MS, typeof begun === 'string' ? null : begun.call];
      expect(typeof added === 'object' ? (added?.call ?? null) : null).toEqual(call);
      for (const [index, { afterMs, action }] of happenings.entries()) {
        if (call === null) break;
        nowMs += afterMs;
        if (restarts[index] === true) {
          await store.close();
          store = await openStore(path);
        }
        const step = advance(call, free(at(action, nowMs)), nowMs);
        const done = await (action.kind === 'invite'
          ? store.calls.invite('c1', { by: action.by, invitees: action.invitees.map(({ identity }) => identity) }, nowMs)
          : store.calls.act('c1', at(action, nowMs), nowMs));
        if (typeof step === 'string') expect(done).toBe(step);
        else ({ call } = step);
        const stored = await store.calls.find('c1');
        expect(stored?.call).toEqual(call);
        expect(await store.calls.nextDeadline()).toBe(deadlineOf(call));
        expect(stored?.room.state === 'finished').toBe(call.state === 'ended');
      }
      await store.close();
    }),
    { numRuns: 60 },
  );
});

function free(action: Action): Action {
  return action.kind === 'invite' ? { ...action, invitees: action.invitees.map((one) => ({ ...one, isBusy: false })) } : action;
}

it('what is due comes once, however many ask, and after a restart', async () => {
  const path = join(await temporaryDirectory(), 'service.db');
  const first = await openStore(path);
  const ids = Array.from({ length: 250 }, (_, index) => `c${index}`);
  const people = { caller: 'ann', invitees: ['bob'], mode: 'direct', ringMs: 60_000, graceMs: 20_000, busy: 'ring' } as const;
  const room = { type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: START_MS } as const;
  await Promise.all(ids.map((id) => first.calls.add({ ...room, id, name: id }, people, null)));
  await first.close();
  const store = await openStore(path);
  expect(await store.calls.nextDeadline()).toBe(START_MS + 60_000);
  const pass = async (nowMs: number): Promise<void> => {
    for (let afterKey: number | null = 0; afterKey !== null;) ({ lastKey: afterKey } = await store.calls.takeDue(nowMs, afterKey));
  };
  await pass(START_MS + 59_999);
  expect((await store.calls.list({ limit: 300, before: null, state: 'ringing', identity: null })).length).toBe(250);
  await Promise.all([pass(START_MS + 60_000), pass(START_MS + 60_000)]);
  await pass(START_MS + 90_000);
  const ended = await store.calls.list({ limit: 300, before: null, state: 'ended', identity: 'bob' });
  expect(ended.filter(({ record }) => record.call.reason === 'missed' && record.call.endedAtMs === START_MS + 60_000)).toHaveLength(250);
  expect(await store.calls.nextDeadline()).toBeNull();
  // Nobody rings any more, and history forgets it with its room; the newest room stays.
  expect(await store.calls.liveOf('bob')).toEqual([]);
  for (let forgotten = 1; forgotten > 0;) forgotten = await store.forgetHistory(START_MS + 100_000, START_MS + 100_000);
  expect(await store.calls.list({ limit: 300, before: null, state: null, identity: 'bob' })).toHaveLength(1);
  await store.close();
});
