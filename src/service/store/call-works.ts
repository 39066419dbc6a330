import { advance, beginCall } from '../calls/call-machine.ts';
import type { Action, Refusal } from '../calls/call-machine.ts';
import type { Step } from '../calls/call-draft.ts';
import { deadlineOf } from '../calls/call.ts';
import type { Call } from '../calls/call.ts';
import { headOf, partyViewOf } from '../calls/call-view.ts';
import type { StoredEvent } from '../webhooks/event.ts';
import * as rows from './call-rows.ts';
import type { CallRecord } from './call-rows.ts';
import * as events from './event-rows.ts';
import { announceAll } from './outbox-rows.ts';
import { addRoom, addRoomOnce } from './room-rows.ts';
import type { NewRoom, Once } from './room-rows.ts';
import type { Work } from './work.ts';

/** A call as it is asked for. */
export interface NewCall extends Pick<Call, 'caller' | 'mode' | 'ringMs' | 'graceMs' | 'busy'> {
  readonly invitees: readonly string[];
}

/** What LiveKit has to be told: to end the room, or to take these people out of it. */
export interface Chores {
  readonly roomKey: number;
  readonly room: string;
  readonly mustClose: boolean;
  readonly evicted: readonly string[];
}

/** A call with people who did not come (back) in time. */
export interface Absent {
  readonly roomKey: number;
  readonly room: string;
  readonly sinceMs: number;
}

export interface Due {
  readonly chores: readonly Chores[];
  readonly absent: readonly Absent[];
  /** Null: that was all. */
  readonly lastKey: number | null;
}

/** LiveKit is asked again after so long, later less often, and after a day no more. */
const RETRY_MS = 5_000;
const MAX_RETRY_MS = 600_000;
const GIVE_UP_MS = 24 * 3_600_000;
/** A webhook that is older than this was kept back: what it tells began when it was made. */
const PROMPT_MS = 5_000;

/** Makes the room and lets it ring. Null, and 'mismatch', as `addRoomOnce`. */
export function* addCall(room: NewRoom, { invitees, ...wanted }: NewCall, once: Once | null): Work<CallRecord | Refusal | 'mismatch' | null> {
  const step = beginCall({ ...wanted, maxParties: room.maxParticipants, invitees: yield* whoIsEngaged(invitees, 0) }, room.createdAtMs);
  if (typeof step === 'string') return step;
  const made = once === null ? yield* addRoom({ ...room, isCall: true }) : yield* addRoomOnce({ ...room, isCall: true }, once);
  if (made === null || made === 'mismatch') return made;
  // The same request came before.
  const before = yield* rows.findCallByKey(made.key);
  if (before !== null) return before;
  const record = { room: made, call: step.call, choresAtMs: null };
  yield* rows.insertCall(record);
  yield* publish(record, step, room.createdAtMs);
  return record;
}

/** Invites these people as well. */
export function* invite(id: string, { by, invitees }: { by: string; invitees: readonly string[] }, nowMs: number): Work<CallRecord | Refusal | null> {
  const record = yield* rows.findCall(id);
  if (record === null) return null;
  return yield* apply(record, { kind: 'invite', by, invitees: yield* whoIsEngaged(invitees, record.room.key) }, nowMs);
}

/** Null where there is no such call. */
export function* act(id: string, action: Action, nowMs: number): Work<CallRecord | Refusal | null> {
  const record = yield* rows.findCall(id);
  return record === null ? null : yield* apply(record, action, nowMs);
}

/** Keeps LiveKit's event, and what it says about its room and its call. */
export function* addEvent(event: StoredEvent): Work<events.EventFate> {
  const { fate, life } = yield* events.addEvent(event);
  if (fate === 'taken' && life.isCall) yield* hear(event, life);
  return fate;
}

function* hear(event: StoredEvent, life: events.Life): Work<void> {
  const action = yield* actionOf(event, life);
  const record = action === null ? null : yield* rows.findCallByKey(life.key);
  if (action !== null && record !== null) yield* apply(record, action, event.receivedAtMs);
}

/** The room's own rows are written. @param life as it was before the event */
function* actionOf({ event, participant, atMs, receivedAtMs }: StoredEvent, { key, state }: events.Life): Work<Action | null> {
  const isFinished = state === 'finished';
  if (event === 'room_finished') return { kind: 'room_gone' };
  if (participant === null) return null;
  const { identity, reason } = participant;
  switch (event) {
    case 'participant_joined':
      // They may have left since, as an event told that came sooner.
      return isFinished || (yield* events.isPresent(key, identity)) ? { kind: 'joined', identity } : null;
    case 'participant_left':
    case 'participant_connection_aborted': {
      if (isFinished || (yield* events.isPresent(key, identity))) return null;
      const isPrompt = Math.abs(receivedAtMs - atMs) < PROMPT_MS;
      return { kind: 'gone', identity, how: howOf(reason), sinceMs: isPrompt ? receivedAtMs : Math.min(atMs, receivedAtMs) };
    }
    default:
      return null;
  }
}

/** By LiveKit's DisconnectReason (livekit/protocol, livekit_models.proto): all else may come back. */
function howOf(reason: string | null): 'hung_up' | 'lost' | 'removed' {
  if (reason === 'PARTICIPANT_REMOVED') return 'removed';
  return reason === 'CLIENT_INITIATED' || reason === 'USER_REJECTED' || reason === 'USER_UNAVAILABLE' ? 'hung_up' : 'lost';
}

/**
 * Lets happen what is due, a hundred calls at a time, but takes nobody for absent; takes what LiveKit has to be told: whoever takes it has
 * some seconds for it. @param afterKey the last one of those before
 */
export function* takeDue(nowMs: number, afterKey: number): Work<Due> {
  const limit = 100;
  const keys = yield* rows.dueCalls(nowMs, { afterKey, limit });
  const [chores, absent]: [Chores[], Absent[]] = [[], []];
  for (const key of keys) {
    const before = yield* rows.findCallByKey(key);
    const record = before === null ? null : yield* apply(before, { kind: 'tick', isDeaf: true }, nowMs);
    if (record === null || typeof record === 'string') continue;
    const sinceMs = deadlineOf(record.call);
    if (sinceMs !== null && sinceMs <= nowMs) absent.push({ roomKey: key, room: record.room.id, sinceMs });
    const some = yield* takeChores(record, nowMs);
    if (some !== null) chores.push(some);
  }
  return { chores, absent, lastKey: keys.length === limit ? (keys.at(-1) ?? null) : null };
}

function* takeChores(record: CallRecord, nowMs: number): Work<Chores | null> {
  const { room, call, choresAtMs } = record;
  if (choresAtMs === null || choresAtMs > nowMs) return null;
  const waitedMs = nowMs - (call.endedAtMs ?? nowMs);
  const isHopeless = waitedMs > GIVE_UP_MS;
  yield* rows.updateCall(
    record,
    { ...call, mustClose: call.mustClose && !isHopeless },
    isHopeless ? null : nowMs + Math.min(Math.max(waitedMs, RETRY_MS), MAX_RETRY_MS),
  );
  const evicted = call.parties.flatMap((one) => (one.mustEvict ? [one.identity] : []));
  return isHopeless ? null : { roomKey: room.key, room: room.id, mustClose: call.mustClose, evicted };
}

/** Whose time to come (back) is over has left, but those whom LiveKit has. @param present identities */
export function* settleAbsence({ roomKey }: Absent, present: readonly string[], nowMs: number): Work<void> {
  let record = yield* rows.findCallByKey(roomKey);
  const actions: Action[] = [...present.map((identity) => ({ kind: 'joined', identity }) as const), { kind: 'tick', isDeaf: false }];
  for (const action of actions) {
    // What has ended meanwhile is not opened again.
    if (record === null || record.call.state === 'ended') return;
    const after: CallRecord | Refusal = yield* apply(record, action, nowMs);
    record = typeof after === 'string' ? null : after;
  }
}

/** LiveKit has done it. */
export function* noteDone({ roomKey, mustClose, evicted }: Chores): Work<void> {
  const record = yield* rows.findCallByKey(roomKey);
  if (record === null) return;
  const parties = record.call.parties.map((one) => (one.mustEvict && evicted.includes(one.identity) ? { ...one, mustEvict: false } : one));
  const call = { ...record.call, mustClose: record.call.mustClose && !mustClose, parties };
  yield* rows.updateCall(record, call, asksOf(call) ? record.choresAtMs : null);
}

function* apply(record: CallRecord, action: Action, nowMs: number): Work<CallRecord | Refusal> {
  const step = advance(record.call, action, nowMs);
  if (typeof step === 'string') return step;
  if (step.call === record.call) return record;
  // Of a room that LiveKit has never made it has nothing to do.
  const choresAtMs = asksOf(step.call) && record.room.livekitCreatedAtMs > 0 ? nowMs : null;
  yield* rows.updateCall(record, step.call, choresAtMs);
  const after = { room: record.room, call: step.call, choresAtMs };
  yield* publish(after, step, nowMs);
  return after;
}

/** Ends the room with its call, and tells what happened. */
function* publish(record: CallRecord, { call, announcements }: Step, nowMs: number): Work<void> {
  const { room } = record;
  yield* announceAll(
    announcements.map(({ type, parties }) => ({
      type,
      room: room.id,
      atMs: nowMs,
      data: () => ({ call: headOf(record), parties: call.parties.filter(({ identity }) => parties.includes(identity)).map(partyViewOf) }),
    })),
  );
  if (call.state === 'ended' && room.state !== 'finished') yield* events.finishRoom(room.key, nowMs, 'ended');
}

function* whoIsEngaged(identities: readonly string[], exceptKey: number): Work<Array<{ identity: string; isBusy: boolean }>> {
  const found = [];
  for (const identity of identities) found.push({ identity, isBusy: yield* rows.isEngaged(identity, exceptKey) });
  return found;
}

function asksOf({ mustClose, parties }: Call): boolean {
  return mustClose || parties.some(({ mustEvict }) => mustEvict);
}
