import { Draft, ENTER_MS } from './call-draft.ts';
import type { Step } from './call-draft.ts';
import { isInside, takesPart } from './call.ts';
import type { Call, Party } from './call.ts';

/** What happens to a call. `by` and `identity` are identities. */
export type Action =
  | { readonly kind: 'invite'; readonly by: string; readonly invitees: readonly Invitee[] }
  /** Asked again by who is in, it changes nothing. */
  | { readonly kind: 'accept'; readonly by: string }
  | { readonly kind: 'reject'; readonly by: string }
  /** Takes these invitations back; all, and with them the call, where none are named. */
  | { readonly kind: 'cancel'; readonly by: string; readonly identities: readonly string[] | null }
  /** Hangs up; who is still asked rejects. */
  | { readonly kind: 'leave'; readonly by: string }
  /** @param by null: the operator */
  | { readonly kind: 'end'; readonly by: string | null }
  /** LiveKit has seen them come, */
  | { readonly kind: 'joined'; readonly identity: string }
  /** or go, with no other connection of theirs left. @param sinceMs when that was */
  | { readonly kind: 'gone'; readonly identity: string; readonly how: 'hung_up' | 'lost' | 'removed'; readonly sinceMs: number }
  /** LiveKit’s room has ended by itself. */
  | { readonly kind: 'room_gone' }
  /** Time has passed. @param isDeaf nobody is taken for absent: LiveKit has to be asked first */
  | { readonly kind: 'tick'; readonly isDeaf: boolean };

export interface Invitee {
  readonly identity: string;
  /** In another call. */
  readonly isBusy: boolean;
}

/** Why an action is not possible. */
export type Refusal = 'ENDED' | 'NOT_YOURS' | 'WRONG_STATE' | 'FULL';

/** A client that enters anew after a network change says first that it leaves (livekit-client, RTCEngine.restartConnection), and is back at once. */
const HUNG_UP_MS = 3_000;

/** People that a call has had in all: with each action all of them are read, and its end tells of all. */
const MOST_PARTIES = 1_000;

/** A new call, which rings. @param wanted.invitees at least one; @param nowMs since 1970 */
export function beginCall(
  wanted: Pick<Call, 'caller' | 'mode' | 'ringMs' | 'graceMs' | 'busy' | 'maxParties'> & { invitees: readonly Invitee[] },
  nowMs: number,
): Step | Refusal {
  const { invitees, ...rest } = wanted;
  const caller: Party = { ...newParty(wanted.caller, null, nowMs), state: 'accepted', acceptedAtMs: nowMs };
  const call: Call = { ...rest, state: 'ringing', createdAtMs: nowMs, startedAtMs: null, endedAtMs: null, reason: null, mustClose: false, parties: [caller] };
  const draft = new Draft(call, nowMs);
  return invite(draft, wanted.caller, invitees) ?? draft.settle();
}

/** The call after `action` at `nowMs`, or why that cannot be. Never changes what it is given. */
export function advance(call: Call, action: Action, nowMs: number): Step | Refusal {
  const draft = new Draft(call, nowMs);
  if ('by' in action && action.by !== null && draft.find(action.by) === undefined) return 'NOT_YOURS';
  if (call.state === 'ended') return afterTheEnd(draft, action);
  return apply(draft, action) ?? draft.settle();
}

/** What is asked again is no mistake; who enters with an old token has to leave. */
function afterTheEnd(draft: Draft, action: Action): Step | Refusal {
  switch (action.kind) {
    case 'invite':
    case 'accept':
      return 'ENDED';
    case 'reject':
      return draft.find(action.by)?.state === 'rejected' ? draft.step() : 'ENDED';
    case 'cancel':
      return action.by === draft.call.caller && draft.call.reason === 'cancelled' ? draft.step() : 'ENDED';
    case 'joined':
      draft.call = { ...draft.call, mustClose: true };
      return draft.step();
    case 'leave':
    case 'end':
    case 'gone':
    case 'room_gone':
    case 'tick':
      return draft.step();
  }
}

function apply(draft: Draft, action: Action): Refusal | null {
  switch (action.kind) {
    case 'invite':
      return isInside(draft.find(action.by)?.state ?? 'left') ? invite(draft, action.by, action.invitees) : 'NOT_YOURS';
    case 'accept':
      return accept(draft, action.by);
    case 'reject':
      return reject(draft, action.by);
    case 'cancel':
      return cancel(draft, action.by, action.identities);
    case 'leave':
      return leave(draft, action.by);
    case 'end':
      return end(draft, action.by);
    case 'joined':
      joined(draft, action.identity);
      return null;
    case 'gone':
      gone(draft, action);
      return null;
    case 'room_gone':
      draft.end('failed', 'lost');
      return null;
    case 'tick':
      tick(draft, action.isDeaf);
      return null;
  }
}

function invite(draft: Draft, by: string, invitees: readonly Invitee[]): Refusal | null {
  const { maxParties, parties, busy, ringMs } = draft.call;
  const wanted = invitees.filter(({ identity }, index) => {
    const before = draft.find(identity);
    return (before === undefined || !takesPart(before)) && invitees.findIndex((one) => one.identity === identity) === index;
  });
  const engaged = wanted.filter(({ isBusy }) => isBusy && busy === 'reject');
  const called = wanted.filter((one) => !engaged.includes(one));
  if (maxParties > 0 && parties.filter(takesPart).length + called.length > maxParties) return 'FULL';
  if (parties.length + wanted.filter(({ identity }) => draft.find(identity) === undefined).length > MOST_PARTIES) return 'FULL';
  const { nowMs } = draft;
  for (const one of wanted) {
    const party = newParty(one.identity, by, nowMs);
    draft.put(engaged.includes(one) ? { ...party, state: 'busy', leftAtMs: nowMs } : { ...party, state: 'ringing', deadlineMs: nowMs + ringMs });
  }
  draft.tell('call.ringing', called);
  draft.tell('call.busy', engaged);
  return null;
}

function accept(draft: Draft, by: string): Refusal | null {
  const party = draft.find(by);
  if (party === undefined || party.state === 'removed' || party.state === 'cancelled') return 'NOT_YOURS';
  if (isInside(party.state)) {
    // Who asks for a token is on the way.
    if (party.deadlineMs !== null) draft.put({ ...party, deadlineMs: Math.max(party.deadlineMs, draft.nowMs + ENTER_MS) });
    return null;
  }
  if (party.state !== 'ringing') {
    // Late, or again: into a group that goes on.
    const { maxParties, parties, state } = draft.call;
    if (state !== 'active') return 'WRONG_STATE';
    if (maxParties > 0 && parties.filter(takesPart).length >= maxParties) return 'FULL';
  }
  draft.admit(party);
  return null;
}

function reject(draft: Draft, by: string): Refusal | null {
  const party = draft.find(by);
  if (party === undefined) return 'NOT_YOURS';
  if (party.state === 'rejected') return null;
  if (party.state !== 'ringing') return 'WRONG_STATE';
  draft.part([party], 'rejected', null);
  return null;
}

function cancel(draft: Draft, by: string, identities: readonly string[] | null): Refusal | null {
  if (identities === null) {
    if (by !== draft.call.caller) return 'NOT_YOURS';
    if (draft.call.state !== 'ringing') return 'WRONG_STATE';
    draft.end('cancelled', 'hung_up');
    return null;
  }
  const wanted = new Set(identities);
  const parties = draft.call.parties.filter(({ identity }) => wanted.has(identity));
  const mayCancel = (one: Party): boolean => by === draft.call.caller || one.invitedBy === by;
  if (parties.length < wanted.size || !parties.every(mayCancel)) return 'NOT_YOURS';
  if (!parties.every(({ state }) => state === 'ringing' || state === 'cancelled')) return 'WRONG_STATE';
  draft.part(
    parties.filter(({ state }) => state === 'ringing'),
    'cancelled',
    null,
  );
  return null;
}

function leave(draft: Draft, by: string): Refusal | null {
  const party = draft.find(by);
  if (party === undefined) return 'NOT_YOURS';
  if (party.state === 'ringing') draft.part([party], 'rejected', null);
  else if (isInside(party.state)) draft.part([{ ...party, mustEvict: true }], 'left', 'hung_up');
  return null;
}

/** In a direct call either may; in a group the caller, and the operator. */
function end(draft: Draft, by: string | null): Refusal | null {
  const { mode, caller, state } = draft.call;
  if (by !== null && by !== caller && (mode === 'group' || !isInside(draft.find(by)?.state ?? 'left'))) return 'NOT_YOURS';
  draft.end(state === 'active' ? 'completed' : 'cancelled', 'ended');
  return null;
}

function joined(draft: Draft, identity: string): void {
  const party = draft.find(identity);
  // Not one of the call: a recorder, or whom the operator gave a token.
  if (party === undefined || (party.state === 'joined' && party.deadlineMs === null)) return;
  if (accept(draft, identity) !== null) {
    draft.put({ ...party, mustEvict: true });
    return;
  }
  const inside = draft.find(identity) ?? party;
  draft.put({ ...inside, state: 'joined', joinedAtMs: inside.joinedAtMs ?? draft.nowMs, deadlineMs: null, reason: null, mustEvict: false });
  if (inside.state === 'accepted') draft.tell('call.joined', [inside]);
}

function gone(draft: Draft, { identity, how, sinceMs }: Extract<Action, { kind: 'gone' }>): void {
  const party = draft.find(identity);
  if (party === undefined || !isInside(party.state)) return;
  // LiveKit says whole seconds: of a connection before they were let in (again).
  if (party.state === 'accepted' && sinceMs + 1_000 <= (party.acceptedAtMs ?? 0)) return;
  if (how === 'removed') {
    draft.part([party], 'removed', 'removed');
    return;
  }
  const waitMs = how === 'hung_up' ? Math.min(HUNG_UP_MS, draft.call.graceMs) : draft.call.graceMs;
  // Who comes back and goes again has a grace of his own each time; told twice of one absence it ends no later.
  const deadlineMs = Math.min(sinceMs + waitMs, party.state === 'joined' ? (party.deadlineMs ?? Number.POSITIVE_INFINITY) : Number.POSITIVE_INFINITY);
  draft.put({ ...party, state: 'joined', joinedAtMs: party.joinedAtMs ?? sinceMs, deadlineMs, reason: how });
  if (party.state === 'accepted') draft.tell('call.joined', [party]);
}

function tick(draft: Draft, isDeaf: boolean): void {
  const due = draft.call.parties.filter(({ deadlineMs }) => deadlineMs !== null && deadlineMs <= draft.nowMs);
  const absent = isDeaf ? [] : due.filter(({ state }) => isInside(state));
  draft.part(
    due.filter(({ state }) => state === 'ringing'),
    'missed',
    null,
  );
  for (const party of absent) draft.part([{ ...party, mustEvict: true }], 'left', party.state === 'accepted' ? 'not_joined' : (party.reason ?? 'lost'));
}

function newParty(identity: string, invitedBy: string | null, nowMs: number): Party {
  const never = { acceptedAtMs: null, joinedAtMs: null, leftAtMs: null, reason: null, deadlineMs: null };
  return { identity, state: 'accepted', invitedBy, invitedAtMs: nowMs, ...never, mustEvict: false };
}
