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
