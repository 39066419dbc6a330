import * as fc from 'fast-check';
import type { Action } from '../../../src/service/calls/call-machine.ts';

export const PEOPLE = ['ann', 'bob', 'cid', 'dan'] as const;

/** Something that happens, after so long. */
export interface Happening {
  readonly afterMs: number;
  readonly action: Action;
}

// One in twelve is a stranger, so that refusals are among them.
const person = fc.oneof({ weight: 11, arbitrary: fc.constantFrom(...PEOPLE) }, { weight: 1, arbitrary: fc.constant('eve') });
const invitees = fc.array(fc.record({ identity: person, isBusy: fc.constantFrom(true, false, false, false) }), { minLength: 1, maxLength: 3 });

const actions: fc.Arbitrary<Action> = fc.oneof(
  fc.record({ kind: fc.constant('invite'), by: person, invitees }),
  fc.record({ kind: fc.constantFrom('accept', 'accept', 'accept', 'reject', 'leave'), by: person }),
  fc.record({ kind: fc.constant('cancel'), by: person, identities: fc.option(fc.array(person, { minLength: 1, maxLength: 2 }), { nil: null }) }),
  fc.record({ kind: fc.constant('joined'), identity: person }),
  fc.record({
    kind: fc.constant('gone'),
    identity: person,
    how: fc.constantFrom('hung_up', 'lost', 'lost', 'lost', 'removed'),
    // Up to a minute late; the time is put in when it happens.
    sinceMs: fc.integer({ min: -60_000, max: 0 }),
  }),
  fc.record({ kind: fc.constant('tick'), isDeaf: fc.boolean() }),
  fc.oneof(
    { weight: 6, arbitrary: fc.constant<Action>({ kind: 'tick', isDeaf: false }) },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant('end'), by: fc.option(person, { nil: null }) }) },
    { weight: 1, arbitrary: fc.constant<Action>({ kind: 'room_gone' }) },
  ),
);

const afterMs = fc.oneof(
  { weight: 6, arbitrary: fc.integer({ min: 0, max: 1_000 }) },
  { weight: 2, arbitrary: fc.integer({ min: 0, max: 25_000 }) },
  { weight: 1, arbitrary: fc.constantFrom(3_000, 20_000, 30_000, 60_000) },
);

/** A call that is asked for, and up to 40 things that happen to it. */
export const stories = fc.record({
  wanted: fc.record({
    caller: fc.constant<string>('ann'),
    mode: fc.constantFrom('direct', 'group'),
    ringMs: fc.constantFrom(10_000, 60_000),
    graceMs: fc.constantFrom(0, 20_000),
    busy: fc.constantFrom('reject', 'ring'),
    maxParties: fc.constantFrom(0, 2, 3),
    invitees,
  }),
  happenings: fc.array(fc.record({ afterMs, action: actions }), { maxLength: 40, size: 'max' }) as fc.Arbitrary<Happening[]>,
});

/** The action as it is at `nowMs`. */
export function at(action: Action, nowMs: number): Action {
  return action.kind === 'gone' ? { ...action, sinceMs: nowMs + action.sinceMs } : action;
}
