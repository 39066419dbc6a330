import { describe, expect, it } from 'vitest';
import type { Call, PartyState } from '../../../src/service/calls/call.ts';
import { advance, beginCall } from '../../../src/service/calls/call-machine.ts';
import type { Step } from '../../../src/service/calls/call-draft.ts';
import type { Action, Invitee } from '../../../src/service/calls/call-machine.ts';

const START_MS = 1_000_000;
const free = (...names: string[]): Invitee[] => names.map((identity) => ({ identity, isBusy: false }));

type Change = Partial<Parameters<typeof beginCall>[0]>;

/** A call and its clock; `told`: what was announced, as `type whom`. */
function ring(change: Change = {}) {
  let nowMs = START_MS;
  const told: string[] = [];
  const take = (step: ReturnType<typeof advance>): Call => {
    if (typeof step === 'string') throw new Error(step);
    told.push(...step.announcements.map(({ type, parties }) => `${type.slice(5)} ${parties.join('+')}`));
    return (step satisfies Step).call;
  };
  const wanted = { caller: 'ann', mode: 'direct', ringMs: 60_000, graceMs: 20_000, busy: 'reject', maxParties: 0, invitees: free('bob'), ...change } as const;
  let call = take(beginCall(wanted, nowMs));
  return {
    told,
    get call() {
      return call;
    },
    get now() {
      return nowMs;
    },
    do: (...actions: Action[]): void => {
      for (const action of actions) call = take(advance(call, action, nowMs));
    },
    refuses: (action: Action): unknown => {
      const step = advance(call, action, nowMs);
      return typeof step === 'string' ? step : null;
    },
    wait(ms: number): void {
      nowMs += ms;
      this.do({ kind: 'tick', isDeaf: false });
    },
    states: (): Record<string, PartyState> => Object.fromEntries(call.parties.map(({ identity, state }) => [identity, state])),
    goes(identity: string, how: 'hung_up' | 'lost' | 'removed' = 'lost'): void {
      this.do({ kind: 'gone', identity, how, sinceMs: nowMs });
    },
  };
}

const accept = (by: string): Action => ({ kind: 'accept', by });
const joined = (identity: string): Action => ({ kind: 'joined', identity });
const leave = (by: string): Action => ({ kind: 'leave', by });
const reject = (by: string): Action => ({ kind: 'reject', by });
const cancel = (by: string, identities: string[] | null = null): Action => ({ kind: 'cancel', by, identities });

function talking(change: Change = {}) {
  const one = ring(change);
  one.do(joined('ann'), accept('bob'), joined('bob'));
  one.told.length = 0;
  return one;
}

describe('a call of two', () => {
  it('rings, is accepted, and ends when one hangs up', () => {
    const one = ring();
    expect([one.call.state, one.states()]).toEqual(['ringing', { ann: 'accepted', bob: 'ringing' }]);
    one.wait(5_000);
    one.do(accept('bob'), joined('bob'), joined('ann'));
    expect([one.call.state, one.call.startedAtMs]).toEqual(['active', START_MS + 5_000]);
    one.wait(60_000);
    one.do(leave('bob'));
    expect(one.call).toMatchObject({ state: 'ended', reason: 'completed', endedAtMs: START_MS + 65_000, mustClose: true });
    expect(one.told).toEqual(['ringing bob', 'accepted bob', 'started ann+bob', 'joined bob', 'joined ann', 'left bob', 'left ann', 'ended ann+bob']);
    expect(one.call.parties.map(({ reason }) => reason)).toEqual(['ended', 'hung_up']);
  });

  it('is missed when the ring time is over, and not before', () => {
    const one = ring();
    one.wait(59_999);
    expect(one.call.state).toBe('ringing');
    one.wait(1);
    expect(one.call).toMatchObject({ state: 'ended', reason: 'missed' });
    expect(one.told).toEqual(['ringing bob', 'missed bob', 'left ann', 'ended ann+bob']);
    expect(one.refuses(accept('bob'))).toBe('ENDED');
  });

  it('is rejected, cancelled, or finds the other one busy', () => {
    const rejected = ring();
    rejected.do(reject('bob'));
    expect(rejected.call).toMatchObject({ state: 'ended', reason: 'rejected' });
    const cancelled = ring();
    cancelled.do(cancel('ann'));
    expect(cancelled.call).toMatchObject({ state: 'ended', reason: 'cancelled' });
    expect(cancelled.states()).toEqual({ ann: 'left', bob: 'cancelled' });
    const busy = ring({ invitees: [{ identity: 'bob', isBusy: true }] });
    expect(busy.call).toMatchObject({ state: 'ended', reason: 'busy' });
    expect(busy.told).toEqual(['busy bob', 'left ann', 'ended ann+bob']);
    expect(ring({ busy: 'ring', invitees: [{ identity: 'bob', isBusy: true }] }).call.state).toBe('ringing');
  });

  it('leaving cancels, rejects or hangs up, by role and phase', () => {
    const [caller, invitee] = [ring(), ring()];
    caller.do(leave('ann'));
    expect(caller.call.reason).toBe('cancelled');
    invitee.do(leave('bob'));
    expect(invitee.call.reason).toBe('rejected');
  });

  it('has room for the invitee, whose place is his own', () => {
    const one = ring({ maxParties: 2 });
    one.do(accept('bob'), joined('bob'), joined('ann'), accept('bob'));
    expect(one.states()).toEqual({ ann: 'joined', bob: 'joined' });
    expect(one.refuses({ kind: 'invite', by: 'ann', invitees: free('cid') })).toBe('FULL');
  });

  it('survives a network change within the grace, again and again, and is lost after it', () => {
    const one = talking();
    for (let times = 0; times < 3; times++) {
      one.goes('bob');
      one.wait(19_999);
      one.do(joined('bob'));
    }
    expect(one.told).toEqual([]);
    one.goes('bob');
    one.wait(20_000);
    expect(one.call).toMatchObject({ state: 'ended', reason: 'failed' });
    expect(one.call.parties.map(({ reason }) => reason)).toEqual(['ended', 'lost']);
  });

  it('survives both being away at a time, and a client that says good-bye before it enters anew', () => {
    const one = talking();
    one.goes('ann');
    one.goes('bob');
    one.wait(10_000);
    one.do(joined('bob'), joined('ann'));
    one.goes('ann', 'hung_up');
    one.wait(2_900);
    one.do(joined('ann'));
    one.wait(60_000);
    expect(one.call.state).toBe('active');
    one.goes('ann', 'hung_up');
    one.wait(3_000);
    expect(one.call).toMatchObject({ state: 'ended', reason: 'completed' });
  });

  it('ends when one is removed, and when one who accepted never comes', () => {
    const removed = talking();
    removed.goes('bob', 'removed');
    expect(removed.call).toMatchObject({ state: 'ended', reason: 'completed' });
    const alone = ring();
    alone.do(joined('ann'), accept('bob'));
    alone.wait(30_000);
    expect(alone.call).toMatchObject({ state: 'ended', reason: 'failed' });
    expect(alone.states()).toEqual({ ann: 'left', bob: 'left' });
  });

  it('gives time to who asks for a token again', () => {
    const one = talking();
    one.goes('bob');
    one.wait(19_000);
    one.do(accept('bob'));
    one.wait(10_000);
    one.do(joined('bob'));
    one.wait(100_000);
    expect(one.call.state).toBe('active');
  });

  it('takes nobody for absent while LiveKit’s word may be late, but misses in time', () => {
    const one = talking({ mode: 'group' });
    one.do({ kind: 'invite', by: 'ann', invitees: free('cid') });
    one.goes('bob');
    const later = advance(one.call, { kind: 'tick', isDeaf: true }, one.now + 60_000) as Step;
    expect(later.call.parties.map(({ state }) => state)).toEqual(['joined', 'joined', 'missed']);
  });

  it('a connection that ended before the answer says nothing about it', () => {
    const one = ring();
    one.wait(5_000);
    one.do(accept('bob'), { kind: 'gone', identity: 'bob', how: 'hung_up', sinceMs: one.now - 2_000 });
    expect(one.states()['bob']).toBe('accepted');
  });

  it('may be ended by either, and is closed again when an old token opens its room', () => {
    const one = talking();
    one.do({ kind: 'end', by: 'bob' });
    expect(one.call).toMatchObject({ state: 'ended', reason: 'completed' });
    const closed = { ...one.call, mustClose: false };
    expect((advance(closed, joined('bob'), one.now) as Step).call.mustClose).toBe(true);
    // Asked again, it is no mistake.
    one.do({ kind: 'end', by: 'bob' }, leave('ann'), leave('bob'));
    expect(one.refuses({ kind: 'end', by: 'eve' })).toBe('NOT_YOURS');
  });
});

const group = (...names: string[]) => ring({ mode: 'group', invitees: free(...names) });

describe('a group call', () => {
  it('goes on while one is in, and ends when the last leaves', () => {
    const one = group('bob', 'cid');
    one.do(joined('ann'), accept('bob'), joined('bob'), reject('cid'), leave('ann'));
    expect([one.call.state, one.states()]).toEqual(['active', { ann: 'left', bob: 'joined', cid: 'rejected' }]);
    expect(one.call.parties[0]?.mustEvict).toBe(true);
    one.do(leave('bob'));
    expect(one.call).toMatchObject({ state: 'ended', reason: 'completed' });
  });

  it.each([
    [[reject('bob'), reject('cid')], 'rejected'],
    [[cancel('ann', ['bob']), cancel('ann', ['cid'])], 'cancelled'],
    [[leave('ann')], 'cancelled'],
    [[{ kind: 'room_gone' } as const], 'failed'],
    [[{ kind: 'end', by: null } as const], 'cancelled'],
  ])('ends when nobody is left ringing: %j', (actions: Action[], reason) => {
    const one = group('bob', 'cid');
    one.do(...actions);
    expect(one.call).toMatchObject({ state: 'ended', reason });
  });

  it('lets in who missed it, or left, while it goes on', () => {
    const one = group('bob', 'cid');
    one.do(joined('ann'), accept('bob'), joined('bob'));
    one.wait(60_000);
    expect(one.states()['cid']).toBe('missed');
    one.do(accept('cid'), joined('cid'), leave('cid'), accept('cid'));
    expect(one.states()['cid']).toBe('accepted');
    one.goes('bob', 'removed');
    expect(one.refuses(accept('bob'))).toBe('NOT_YOURS');
    one.do(joined('bob'));
    expect(one.call.parties.find(({ identity }) => identity === 'bob')).toMatchObject({ state: 'removed', mustEvict: true });
    one.do({ kind: 'invite', by: 'ann', invitees: free('bob') }, accept('bob'));
    expect(one.states()['bob']).toBe('accepted');
  });

  it('is what a call of two becomes with a third', () => {
    const one = talking();
    one.do({ kind: 'invite', by: 'bob', invitees: free('cid', 'cid', 'ann') });
    expect([one.call.mode, one.told, one.states()]).toEqual(['group', ['ringing cid'], { ann: 'joined', bob: 'joined', cid: 'ringing' }]);
    one.do(accept('cid'), leave('ann'));
    expect(one.call.state).toBe('active');
  });

  it('lets strangers do nothing, and members not what is the caller’s', () => {
    const one = group('bob', 'cid');
    one.do(accept('bob'));
    for (const kind of ['accept', 'reject', 'leave', 'end'] as const) expect(one.refuses({ kind, by: 'eve' })).toBe('NOT_YOURS');
    expect(one.refuses(cancel('eve'))).toBe('NOT_YOURS');
    expect(one.refuses({ kind: 'invite', by: 'cid', invitees: free('eve') })).toBe('NOT_YOURS');
    expect(one.refuses({ kind: 'end', by: 'bob' })).toBe('NOT_YOURS');
    expect(one.refuses(cancel('bob', ['cid']))).toBe('NOT_YOURS');
    expect(one.refuses(cancel('ann'))).toBe('WRONG_STATE');
    expect(one.refuses(cancel('ann', ['bob']))).toBe('WRONG_STATE');
    expect(one.refuses(reject('bob'))).toBe('WRONG_STATE');
    one.do(joined('eve'));
    one.goes('eve');
    expect(one.states()).toEqual({ ann: 'accepted', bob: 'accepted', cid: 'ringing' });
  });
});

it('a call has had a thousand people at most, whoever of them is still asked', () => {
  const one = ring({ mode: 'group' });
  one.do({ kind: 'accept', by: 'bob' }, { kind: 'joined', identity: 'ann' }, { kind: 'joined', identity: 'bob' });
  for (let from = 0; from < 900; from += 100) one.do({ kind: 'invite', by: 'ann', invitees: guests(from, 100) });
  expect(one.refuses({ kind: 'invite', by: 'ann', invitees: guests(900, 99) })).toBe('FULL');
  one.do({ kind: 'invite', by: 'ann', invitees: guests(900, 98) });
  one.wait(60_000);
  expect(one.refuses({ kind: 'invite', by: 'ann', invitees: guests(998, 1) })).toBe('FULL');
  // Who was asked before may be asked again.
  one.do({ kind: 'invite', by: 'ann', invitees: guests(0, 1) });
  expect(one.call.parties).toHaveLength(1_000);
});

function guests(from: number, count: number): Invitee[] {
  return free(...Array.from({ length: count }, (_, index) => `guest ${from + index}`));
}
