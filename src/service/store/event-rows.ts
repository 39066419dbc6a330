import { isOfGhost } from '../../contract/ghosts.ts';
import type { EventView } from '../../contract/rooms.ts';
import type { EventParticipant, StoredEvent } from '../webhooks/event.ts';
import { announceAll } from './outbox-rows.ts';
import type { OutgoingEvent } from './outbox-rows.ts';
import { all, change, first } from './work.ts';
import type { Row, Work } from './work.ts';

/** The life of a room that an event is about. */
export interface Life {
  readonly key: number;
  readonly isCall: boolean;
  /** False for a former one, and for an event that does not say when its room was made: such events are kept, and change nothing. */
  readonly isPresent: boolean;
  readonly state: string;
  readonly finishedAtMs: number | null;
}

/** Clocks of one fleet differ by less than this. */
const LEEWAY_MS = 60_000;
const NO_LIFE: Life = { key: 0, isCall: false, isPresent: false, state: 'finished', finishedAtMs: null };

/** What an event was: `duplicate` where its id was known already (nothing changes), `late` for a former life of its room, or none that is known. */
export type EventFate = 'taken' | 'late' | 'duplicate';

/** Keeps the event and what it says about its room. @returns also the room's life, as it was before */
export function* addEvent(event: StoredEvent): Work<{ fate: EventFate; life: Life }> {
  const life = yield* lifeOf(event);
  const { id, room, roomCreatedAtMs, participant, receivedAtMs, isMadeUp, body, atMs } = event;
  // Several services or agents may make up the same one, each in its own second.
  const at = Math.floor((isMadeUp || isOfGhost(id) ? roomCreatedAtMs : atMs) / 1000);
  const added = yield* change(INSERT, at, id, room, life.key, event.event, participant?.identity ?? null, receivedAtMs, isMadeUp ? 1 : 0, body);
  if (added === 0) return { fate: 'duplicate', life };
  const told = life.isPresent ? yield* apply(event, life) : [];
  yield* announceAll([...told, { type: `livekit.${event.event}`, room, atMs, data: () => ({ event: JSON.parse(body) as unknown }) }]);
  return { fate: life.isPresent || room === '' ? 'taken' : 'late', life };
}

const INSERT = `INSERT INTO events (at, id, room, room_key, event, identity, received_at, is_made_up, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (at, id) DO NOTHING`;

function* lifeOf({ room, roomCreatedAtMs }: StoredEvent): Work<Life> {
  const row = room === '' ? undefined : yield* first(LIFE, room);
  if (row === undefined) return NO_LIFE;
  const key = Number(row['key']);
  const madeAtMs = Number(row['livekit_created_at']);
  const isCall = Number(row['is_call']) === 1;
  const life = { key, isCall, state: String(row['state']), finishedAtMs: row['finished_at'] === null ? null : Number(row['finished_at']) };
  if (roomCreatedAtMs === 0) return { ...life, isPresent: false };
  if (madeAtMs > 0 && roomCreatedAtMs >= madeAtMs) return { ...life, isPresent: true };
  // Older than the present life, or the first that is heard of it: LiveKit's answer to its creation is on its way.
  const before = yield* first('SELECT key FROM rooms WHERE id = ? AND former > 0 AND livekit_created_at = ?', room, roomCreatedAtMs);
  if (before !== undefined) return { ...NO_LIFE, key: Number(before['key']) };
  const isFirst = madeAtMs === 0 && roomCreatedAtMs >= Number(row['created_at']) - LEEWAY_MS;
  if (isFirst) yield* change('UPDATE rooms SET livekit_created_at = ? WHERE key = ?', roomCreatedAtMs, key);
  return { ...life, isPresent: isFirst };
}

const LIFE = 'SELECT key, state, created_at, livekit_created_at, finished_at, is_call FROM rooms WHERE id = ? AND former = 0';

/** Gives what is to be told of it. */
function* apply({ event, room, participant: who, atMs }: StoredEvent, { key, state, finishedAtMs }: Life): Work<OutgoingEvent[]> {
  const started = state === 'new' ? [{ type: 'room.started', room, atMs, data: {}, cause: String(key) }] : [];
  switch (event) {
    case 'room_started':
      yield* change(START, key);
      return started;
    case 'room_finished':
      return (yield* endRoom(key, atMs, 'empty')) ?? [];
    case 'participant_joined': {
      if (who === null) {
        yield* change(START, key);
        return started;
      }
      const end = state === 'finished' ? { atMs: finishedAtMs ?? atMs, reason: ROOM_CLOSED } : null;
      const isNew = (yield* change(ADD, key, who.sid, who.identity, who.name, who.joinedAtMs ?? atMs, end?.atMs ?? null, end?.reason ?? null)) > 0;
      if (state === 'new') yield* change(isNew ? ENTER : START, key);
      else if (isNew && state === 'live') yield* change(ENTER_LIVE, key);
      if (isNew) return [...started, joined(room, who, atMs), ...(end === null ? [] : [left(room, who, end)])];
      // Who left before it was told that they joined; that is told already.
      yield* change(COMPLETE, who.joinedAtMs ?? atMs, who.name, key, who.sid);
      return started;
    }
    case 'participant_left':
    case 'participant_connection_aborted': {
      if (who === null) return [];
      const gone = left(room, who, { atMs, reason: who.reason });
      if ((yield* change(END, atMs, who.reason, key, who.sid)) > 0) {
        yield* change(EXIT, key);
        return [gone];
      }
      if ((yield* change(ADD, key, who.sid, who.identity, who.name, who.joinedAtMs, atMs, who.reason)) > 0)
        // Whose connection was aborted never was in.
        return event === 'participant_left' ? [joined(room, who, atMs), gone] : [];
      yield* change(CORRECT, atMs, who.reason, key, who.sid);
      return [];
    }
    default:
      return [];
  }
}

const ROOM_CLOSED = 'ROOM_CLOSED';
const START = `UPDATE rooms SET state = 'live' WHERE key = ? AND state = 'new'`;
const ENTER = `UPDATE rooms SET state = 'live', num_participants = num_participants + 1 WHERE key = ? AND state = 'new'`;
/** `state` is in the conditions of indexes: where it is not set they are not looked at. */
const ENTER_LIVE = `UPDATE rooms SET num_participants = num_participants + 1 WHERE key = ? AND state = 'live'`;
const EXIT = `UPDATE rooms SET num_participants = num_participants - 1 WHERE key = ? AND state <> 'finished'`;
const ADD = `INSERT INTO participants (room_key, sid, identity, name, joined_at, left_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?)
  ON CONFLICT (room_key, sid) DO NOTHING`;
const COMPLETE = `UPDATE participants SET joined_at = coalesce(joined_at, ?1), name = CASE WHEN name = '' THEN ?2 ELSE name END WHERE room_key = ?3 AND sid = ?4`;
const END = 'UPDATE participants SET left_at = ?, reason = ? WHERE room_key = ? AND sid = ? AND left_at IS NULL';
/** What LiveKit says of who left beats what followed from the room's end, and the first that it says beats the next, in whatever order they come. */
const CORRECT = `UPDATE participants SET left_at = ?1, reason = ?2 WHERE room_key = ?3 AND sid = ?4 AND (reason = '${ROOM_CLOSED}' OR left_at > ?1)`;

function joined(room: string, { identity, sid, name, joinedAtMs }: EventParticipant, atMs: number): OutgoingEvent {
  return { type: 'participant.joined', room, atMs: joinedAtMs ?? atMs, data: { identity, sid, name } };
}

function left(
  room: string,
  { identity, sid, name }: Omit<EventParticipant, 'joinedAtMs' | 'reason'>,
  end: { atMs: number; reason: string | null },
): OutgoingEvent {
  return { type: 'participant.left', room, atMs: end.atMs, data: { identity, sid, name, reason: end.reason } };
}

/** Ends a life of a room, for this reason where none was noted before (noteEnding); false where that has ended already. */
export function* finishRoom(key: number, atMs: number, reason: string): Work<boolean> {
  const told = yield* endRoom(key, atMs, reason);
  if (told !== null) yield* announceAll(told);
  return told !== null;
}

/** A look at rooms in the order of their making. */
export interface ExpiryLook {
  readonly afterKey: number;
  readonly createdBeforeMs: number;
  readonly nowMs: number;
}

/** Ends rooms that LiveKit was never asked for, of the next `limit` that are old enough. Gives how many those are, and the key of the last. */
export function* expireRooms({ afterKey, createdBeforeMs, nowMs }: ExpiryLook, limit: number): Work<{ lastKey: number; count: number }> {
  const rows = yield* all('SELECT key, state, created_at, livekit_created_at FROM rooms WHERE key > ? ORDER BY key LIMIT ?', afterKey, limit);
  const young = rows.findIndex((row) => Number(row['created_at']) >= createdBeforeMs);
  const old = young === -1 ? rows : rows.slice(0, young);
  for (const row of old) if (row['state'] === 'new' && Number(row['livekit_created_at']) === 0) yield* finishRoom(Number(row['key']), nowMs, 'unused');
  return { lastKey: Number(old.at(-1)?.['key'] ?? afterKey), count: old.length };
}

function* endRoom(key: number, atMs: number, reason: string): Work<OutgoingEvent[] | null> {
  const row = yield* first(FINISH, atMs, reason, key);
  if (row === undefined) return null;
  const room = String(row['id']);
  const people = yield* all(EVERYONE_OUT, atMs, key);
  return [
    ...people.map((one) => left(room, personOf(one), { atMs, reason: ROOM_CLOSED })),
    { type: 'room.finished', room, atMs, data: { reason: String(row['finish_reason']) }, cause: String(key) },
  ];
}

const FINISH = `UPDATE rooms SET state = 'finished', num_participants = 0, finished_at = ?, finish_reason = coalesce(finish_reason, ?) WHERE key = ? AND state <> 'finished' RETURNING id, finish_reason`;
const EVERYONE_OUT = `UPDATE participants SET left_at = ?, reason = '${ROOM_CLOSED}' WHERE room_key = ? AND left_at IS NULL RETURNING sid, identity, name`;

function personOf(row: Row): { sid: string; identity: string; name: string } {
  return { sid: String(row['sid']), identity: String(row['identity']), name: String(row['name']) };
}

/** Brings the index of each room's events up to date: many at a time (see the migration). */
export function* indexEvents(): Work<void> {
  const end = Number((yield* first('SELECT seq FROM room_events_end'))?.['seq'] ?? 0);
  yield* change('INSERT INTO room_events (room_key, seq) SELECT room_key, seq FROM events WHERE seq > ? AND room_key > 0 ORDER BY room_key, seq', end);
  yield* change('UPDATE room_events_end SET seq = (SELECT coalesce(max(seq), 0) FROM events)');
}

/** Those of all lives of the room's id, in the order in which they came. @param isIndexedLate see Database */
export function* eventsOf(room: string, isIndexedLate: boolean): Work<EventView[]> {
  return (yield* all(isIndexedLate ? EVENTS_BY_LATE_INDEX : EVENTS, room)).map(toView);
}

const OF_ROOM = 'room_key IN (SELECT key FROM rooms WHERE id = ?1)';
const EVENTS = `SELECT id, event, identity, received_at, is_made_up FROM events WHERE ${OF_ROOM} ORDER BY seq`;
const EVENTS_BY_LATE_INDEX = `SELECT id, event, identity, received_at, is_made_up, seq FROM events WHERE seq IN (SELECT seq FROM room_events WHERE ${OF_ROOM})
  UNION ALL SELECT id, event, identity, received_at, is_made_up, seq FROM events WHERE seq > (SELECT seq FROM room_events_end) AND ${OF_ROOM} ORDER BY seq`;

/** Who is in this life of a room. */
export function* present(roomKey: number): Work<Array<{ sid: string; identity: string }>> {
  const rows = yield* all('SELECT sid, identity FROM participants WHERE room_key = ? AND left_at IS NULL', roomKey);
  return rows.map((row) => ({ sid: String(row['sid']), identity: String(row['identity']) }));
}

/** True for who is in this life of a room. */
export function* isPresent(roomKey: number, identity: string): Work<boolean> {
  return (yield* first('SELECT 1 FROM participants WHERE room_key = ? AND identity = ? AND left_at IS NULL LIMIT 1', roomKey, identity)) !== undefined;
}

function toView(row: Row): EventView {
  return {
    id: String(row['id']),
    event: String(row['event']),
    identity: row['identity'] === null ? null : String(row['identity']),
    receivedAt: new Date(Number(row['received_at'])).toISOString(),
    isMadeUp: row['is_made_up'] === 1,
  };
}
