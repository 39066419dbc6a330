import type { Call, CallState, EndReason, LeaveReason, Party, PartyState } from '../calls/call.ts';
import { deadlineOf } from '../calls/call.ts';
import type { RoomRecord } from './room-rows.ts';
import { findRoom, findRoomByKey } from './room-rows.ts';
import { all, change, first } from './work.ts';
import type { Row, Work } from './work.ts';

/** A call with its room. */
export interface CallRecord {
  readonly room: RoomRecord;
  readonly call: Call;
  /** When LiveKit has to be told (again) what the call asks of it; null: it asks nothing. */
  readonly choresAtMs: number | null;
}

/** Calls, the latest first; `before`: the key of the last one of the page before; null: any. */
export interface CallPage {
  readonly limit: number;
  readonly before: number | null;
  readonly state: CallState | null;
  readonly identity: string | null;
}

export const LIVE = `('ringing', 'accepted', 'joined')`;
const CALL_COLUMNS = 'caller, mode, state, ring_ms, grace_ms, busy, created_at, started_at, ended_at, reason, must_close, chores_at';
const PARTY_COLUMNS = 'identity, state, invited_by, invited_at, accepted_at, joined_at, left_at, reason, deadline, must_evict';

/** The call of this life of a room. */
export function* findCallByKey(roomKey: number): Work<CallRecord | null> {
  const room = yield* findRoomByKey(roomKey);
  return room === null ? null : yield* callOf(room);
}

/** The call of an id's present life. */
export function* findCall(id: string): Work<CallRecord | null> {
  const room = yield* findRoom(id);
  return room === null || !room.isCall ? null : yield* callOf(room);
}

function* callOf(room: RoomRecord): Work<CallRecord | null> {
  const row = yield* first(`SELECT ${CALL_COLUMNS} FROM calls WHERE room_key = ?`, room.key);
  if (row === undefined) return null;
  const parties = yield* all(`SELECT ${PARTY_COLUMNS} FROM call_parties WHERE room_key = ? ORDER BY position`, room.key);
  return { room, call: toCall(row, room.maxParticipants, parties), choresAtMs: timeOf(row['chores_at']) };
}

export function* listCalls({ limit, before, state, identity }: CallPage): Work<Array<{ key: number; record: CallRecord }>> {
  const last = before ?? Number.MAX_SAFE_INTEGER;
  const rows = identity === null ? yield* all(LIST, last, state, limit) : yield* all(LIST_OF, last, state, limit, identity);
  return yield* recordsOf(rows);
}

const LIST = `SELECT room_key FROM calls WHERE room_key < ?1 AND (CAST(?2 AS TEXT) IS NULL OR state = ?2) ORDER BY room_key DESC LIMIT ?3`;
const LIST_OF = `SELECT c.room_key FROM call_parties p JOIN calls c ON c.room_key = p.room_key
  WHERE p.identity = ?4 AND p.room_key < ?1 AND (CAST(?2 AS TEXT) IS NULL OR c.state = ?2) ORDER BY p.room_key DESC LIMIT ?3`;

/** Those that ring for this person, or that they are in, the latest first. */
export function* liveCallsOf(identity: string): Work<CallRecord[]> {
  const rows = yield* all(`SELECT room_key FROM call_parties WHERE identity = ? AND state IN ${LIVE} ORDER BY room_key DESC`, identity);
  return (yield* recordsOf(rows)).map(({ record }) => record);
}

/** True for who is in another call. */
export function* isEngaged(identity: string, exceptKey: number): Work<boolean> {
  return (
    (yield* first(`SELECT 1 FROM call_parties WHERE identity = ? AND state IN ('accepted', 'joined') AND room_key <> ? LIMIT 1`, identity, exceptKey)) !==
    undefined
  );
}

function* recordsOf(rows: readonly Row[]): Work<Array<{ key: number; record: CallRecord }>> {
  const found = [];
  for (const row of rows) {
    const key = Number(row['room_key']);
    const record = yield* findCallByKey(key);
    if (record !== null) found.push({ key, record });
  }
  return found;
}

/** Adds the rows of a new call. */
export function* insertCall({ room, call, choresAtMs }: CallRecord): Work<void> {
  const { caller, mode, state, ringMs, graceMs, busy, createdAtMs, startedAtMs, endedAtMs, reason, mustClose } = call;
  const times = [createdAtMs, startedAtMs, endedAtMs] as const;
  const due = dueOf(call, choresAtMs);
  yield* change(INSERT, room.key, caller, mode, state, ringMs, graceMs, busy, ...times, reason, mustClose ? 1 : 0, choresAtMs, due);
  for (const [position, party] of call.parties.entries()) yield* putParty(room.key, position, party);
}

const INSERT = `INSERT INTO calls (room_key, ${CALL_COLUMNS}, deadline) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** Writes what differs from the call as it was. */
export function* updateCall({ room, call: before }: CallRecord, call: Call, choresAtMs: number | null): Work<void> {
  const { mode, state, startedAtMs, endedAtMs, reason, mustClose } = call;
  yield* change(UPDATE, mode, state, startedAtMs, endedAtMs, reason, mustClose ? 1 : 0, choresAtMs, dueOf(call, choresAtMs), room.key);
  for (const [position, party] of call.parties.entries()) if (party !== before.parties[position]) yield* putParty(room.key, position, party);
}

const UPDATE = `UPDATE calls SET mode = ?, state = ?, started_at = ?, ended_at = ?, reason = ?, must_close = ?, chores_at = ?, deadline = ? WHERE room_key = ?`;

function* putParty(roomKey: number, position: number, party: Party): Work<void> {
  const { identity, state, invitedBy, invitedAtMs, acceptedAtMs, joinedAtMs, leftAtMs, reason, deadlineMs, mustEvict } = party;
  const times = [invitedAtMs, acceptedAtMs, joinedAtMs, leftAtMs] as const;
  yield* change(PUT, roomKey, position, identity, state, invitedBy, ...times, reason, deadlineMs, mustEvict ? 1 : 0);
}

const PUT = `INSERT INTO call_parties (room_key, position, ${PARTY_COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (room_key, identity) DO UPDATE SET state = excluded.state, invited_by = excluded.invited_by, invited_at = excluded.invited_at,
    accepted_at = excluded.accepted_at, joined_at = excluded.joined_at, left_at = excluded.left_at, reason = excluded.reason,
    deadline = excluded.deadline, must_evict = excluded.must_evict`;

/** Keys of calls in which something happens by `nowMs`, from the smallest after `afterKey`. */
export function* dueCalls(nowMs: number, { afterKey, limit }: { afterKey: number; limit: number }): Work<number[]> {
  const rows = yield* all('SELECT room_key FROM calls WHERE deadline <= ? AND room_key > ? ORDER BY room_key LIMIT ?', nowMs, afterKey, limit);
  return rows.map((row) => Number(row['room_key']));
}

/** When the next thing happens by itself. */
export function* nextDeadline(): Work<number | null> {
  return timeOf((yield* first('SELECT min(deadline) AS deadline FROM calls WHERE deadline IS NOT NULL'))?.['deadline'] ?? null);
}

function dueOf(call: Call, choresAtMs: number | null): number | null {
  const deadlineMs = deadlineOf(call);
  if (deadlineMs === null || choresAtMs === null) return deadlineMs ?? choresAtMs;
  return Math.min(deadlineMs, choresAtMs);
}

function toCall(row: Row, maxParties: number, parties: readonly Row[]): Call {
  return {
    caller: String(row['caller']),
    mode: row['mode'] === 'direct' ? 'direct' : 'group',
    state: String(row['state']) as CallState,
    ringMs: Number(row['ring_ms']),
    graceMs: Number(row['grace_ms']),
    busy: row['busy'] === 'ring' ? 'ring' : 'reject',
    maxParties,
    createdAtMs: Number(row['created_at']),
    startedAtMs: timeOf(row['started_at']),
    endedAtMs: timeOf(row['ended_at']),
    reason: textOf(row['reason']) as EndReason | null,
    mustClose: Number(row['must_close']) === 1,
    parties: parties.map(toParty),
  };
}

function toParty(row: Row): Party {
  return {
    identity: String(row['identity']),
    state: String(row['state']) as PartyState,
    invitedBy: textOf(row['invited_by']),
    invitedAtMs: Number(row['invited_at']),
    acceptedAtMs: timeOf(row['accepted_at']),
    joinedAtMs: timeOf(row['joined_at']),
    leftAtMs: timeOf(row['left_at']),
    reason: textOf(row['reason']) as LeaveReason | null,
    deadlineMs: timeOf(row['deadline']),
    mustEvict: Number(row['must_evict']) === 1,
  };
}

function timeOf(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}

function textOf(value: unknown): string | null {
  return value === null ? null : String(value);
}
