import { isInside, takesPart } from './call.ts';
import type { Call, EndReason, LeaveReason, Party, PartyState } from './call.ts';

export type AnnouncementType =
  | 'call.ringing'
  | 'call.accepted'
  | 'call.rejected'
  | 'call.busy'
  | 'call.missed'
  | 'call.cancelled'
  | 'call.started'
  | 'call.joined'
  | 'call.left'
  | 'call.ended';

/** What is told to the operator's endpoints; `parties`: whom it is about. */
export interface Announcement {
  readonly type: AnnouncementType;
  readonly parties: readonly string[];
}

/** The call after an action. Without announcements and with the same call nothing has changed. */
export interface Step {
  readonly call: Call;
  readonly announcements: readonly Announcement[];
}

/** A client needs so long at most from the answer to being in the room: through TURN over TLS, some ten seconds. */
export const ENTER_MS = 30_000;

const TOLD: Partial<Record<PartyState, AnnouncementType>> = {
  rejected: 'call.rejected',
  missed: 'call.missed',
  cancelled: 'call.cancelled',
  left: 'call.left',
  removed: 'call.left',
};

/** A call that is being changed; its methods keep the parties, the call and what is told of them together. */
export class Draft {
  call: Call;
  readonly nowMs: number;
  readonly #announcements: Announcement[] = [];

  constructor(call: Call, nowMs: number) {
    this.call = call;
    this.nowMs = nowMs;
  }

  find(identity: string): Party | undefined {
    return this.call.parties.find((one) => one.identity === identity);
  }

  put(party: Party): void {
    const { parties } = this.call;
    const isNew = this.find(party.identity) === undefined;
    this.call = { ...this.call, parties: isNew ? [...parties, party] : parties.map((one) => (one.identity === party.identity ? party : one)) };
  }

  tell(type: AnnouncementType, parties: readonly { identity: string }[]): void {
    if (parties.length > 0) this.#announcements.push({ type, parties: parties.map(({ identity }) => identity) });
  }

  /** Lets in who was asked; with the first of them the call begins, and who is to come has to come. */
  admit(party: Party): void {
    const { nowMs } = this;
    this.put({ ...party, state: 'accepted', acceptedAtMs: nowMs, leftAtMs: null, reason: null, deadlineMs: nowMs + ENTER_MS, mustEvict: false });
    this.tell('call.accepted', [party]);
    if (this.call.state === 'active') return;
    this.call = { ...this.call, state: 'active', startedAtMs: nowMs };
    const caller = this.find(this.call.caller);
    if (caller?.state === 'accepted') this.put({ ...caller, deadlineMs: nowMs + ENTER_MS });
    this.tell('call.started', this.call.parties);
  }

  /** Ends their part in the call. */
  part(parties: readonly Party[], state: PartyState, reason: LeaveReason | null): void {
    for (const party of parties) this.put({ ...party, state, reason, leftAtMs: this.nowMs, deadlineMs: null });
    const type = TOLD[state];
    if (type !== undefined) this.tell(type, parties);
  }

  end(reason: EndReason, leaving: LeaveReason): void {
    const { parties } = this.call;
    this.part(
      parties.filter(({ state }) => state === 'ringing'),
      'cancelled',
      null,
    );
    this.part(
      parties.filter(({ state }) => isInside(state)),
      'left',
      leaving,
    );
    // With the room all are out.
    const outside = this.call.parties.map((one) => (one.mustEvict ? { ...one, mustEvict: false } : one));
    this.call = { ...this.call, state: 'ended', reason, endedAtMs: this.nowMs, mustClose: true, parties: outside };
    this.tell('call.ended', this.call.parties);
  }

  /** Ends a call that nobody is left for. */
  settle(): Step {
    // A third person makes a group of two.
    if (this.call.parties.filter(takesPart).length > 2) this.call = { ...this.call, mode: 'group' };
    const { state, parties, mode, caller } = this.call;
    const inside = parties.filter((one) => isInside(one.state));
    if (state === 'ringing' && !inside.some(({ identity }) => identity === caller)) this.end('cancelled', 'ended');
    else if (state === 'ringing' && !parties.some((one) => one.state === 'ringing')) this.end(unansweredReason(parties), 'ended');
    else if (state === 'active' && inside.length < (mode === 'direct' ? 2 : 1)) this.end(wasHungUp(parties) ? 'completed' : 'failed', 'ended');
    return this.step();
  }

  step(): Step {
    return { call: this.call, announcements: this.#announcements };
  }
}

function unansweredReason(parties: readonly Party[]): EndReason {
  const states = new Set(parties.map(({ state }) => state));
  if (states.has('rejected')) return 'rejected';
  if (states.has('missed')) return 'missed';
  return states.has('busy') ? 'busy' : 'cancelled';
}

function wasHungUp(parties: readonly Party[]): boolean {
  return parties.some(({ reason }) => reason === 'hung_up' || reason === 'removed');
}
