import { announce } from './outbox-rows.ts';
import { all, change, first } from './work.ts';
import type { Row, Work } from './work.ts';

/** A room as it is asked for. */
export interface NewRoom {
  readonly id: string;
  readonly name: string;
  readonly type: 'voice' | 'video';
  /** 0: as many as come. */
  readonly maxParticipants: number;
  /** Seconds that LiveKit keeps it without anybody in it; null: its default. */
  readonly emptyTimeout: number | null;
  readonly metadata: string;
  readonly createdAtMs: number;
  /** It has invitees: call-rows.ts knows them. */
  readonly isCall?: boolean;
}

/** One life of a room's id. */
export interface RoomRecord extends NewRoom {
  readonly key: number;
  readonly isCall: boolean;
  readonly state: 'new' | 'live' | 'finished';
  readonly numParticipants: number;
  /** LiveKit's own time of creation, by which it tells the lives of a name apart; 0 until LiveKit has made it. */
  readonly livekitCreatedAtMs: number;
  readonly finishedAtMs: number | null;
  readonly finishReason: string | null;
}

/** A request that may be sent again. */
export interface Once {
  readonly key: string;
  /** Hash of what was asked. */
  readonly request: string;
}

/** Rooms in the order of their ids, those after `cursor`; null: any. */
export interface RoomPage {
  readonly limit: number;
  readonly cursor: string | null;
  readonly state?: RoomRecord['state'] | null;
  readonly type?: RoomRecord['type'] | null;
}

/** A client that has not heard of an answer for so long asks no more. */
const REMEMBER_MS = 24 * 3600 * 1000;

const COLUMNS = `key, id, name, type, max_participants, empty_timeout, metadata, state, num_participants, created_at, livekit_created_at, finished_at, finish_reason, is_call`;

/** Adds the room, a new life where the one before is finished; null (nothing changes) while the id's present life is not. */
export function* addRoom(room: NewRoom): Work<RoomRecord | null> {
  const fresh = yield* insertRoom(room);
  if (fresh !== null) return yield* tellOf(fresh);
  const superseded = yield* change(`UPDATE rooms SET former = key WHERE id = ? AND former = 0 AND state = 'finished'`, room.id);
  const next = superseded === 0 ? null : yield* insertRoom(room);
  return next === null ? null : yield* tellOf(next);
}

function* tellOf(made: RoomRecord): Work<RoomRecord> {
  const { id: room, key, name, type, createdAtMs: atMs } = made;
  yield* announce({ type: 'room.created', room, atMs, data: { name, type }, cause: String(key) });
  return made;
}

function* insertRoom({ id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs, isCall }: NewRoom): Work<RoomRecord | null> {
  const row = yield* first(INSERT, id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs, isCall === true ? 1 : 0);
  return row === undefined ? null : toRecord(row);
}

const INSERT = `INSERT INTO rooms (id, name, type, max_participants, empty_timeout, metadata, state, created_at, is_call) VALUES (?, ?, ?, ?, ?, ?, 'new', ?, ?)
  ON CONFLICT (id, former) DO NOTHING RETURNING ${COLUMNS}`;

/** As `addRoom`; where the same request came before with this key, what was made then. */
export function* addRoomOnce(room: NewRoom, once: Once): Work<RoomRecord | 'mismatch' | null> {
  const before = yield* first('SELECT request, room_key FROM idempotency WHERE key = ? AND at >= ?', once.key, room.createdAtMs - REMEMBER_MS);
  if (before !== undefined) {
    if (before['request'] !== once.request) return 'mismatch';
    const row = yield* first(`SELECT ${COLUMNS} FROM rooms WHERE key = ?`, Number(before['room_key']));
    if (row !== undefined) return toRecord(row);
  }
  const fresh = yield* addRoom(room);
  if (fresh !== null) yield* change(REMEMBER, once.key, once.request, fresh.key, room.createdAtMs);
  return fresh;
}

const REMEMBER = `INSERT INTO idempotency (key, request, room_key, at) VALUES (?, ?, ?, ?)
  ON CONFLICT (key) DO UPDATE SET request = excluded.request, room_key = excluded.room_key, at = excluded.at`;

/** Forgets `limit` at most of the keys whose requests no client sends again. @param nowMs since 1970. Gives how many. */
export function forgetRequests(nowMs: number, limit: number): Work<number> {
  return change('DELETE FROM idempotency WHERE key IN (SELECT key FROM idempotency WHERE at < ? LIMIT ?)', nowMs - REMEMBER_MS, limit);
}

/** Takes back a life that LiveKit did not make. */
export function* takeRoomBack({ key, id, createdAtMs }: RoomRecord): Work<void> {
  if ((yield* change(`DELETE FROM rooms WHERE key = ? AND state = 'new' AND livekit_created_at = 0`, key)) === 0) return;
  yield* change('UPDATE rooms SET former = 0 WHERE key = (SELECT max(key) FROM rooms WHERE id = ?)', id);
  yield* change('DELETE FROM idempotency WHERE room_key = ?', key);
  yield* announce({ type: 'room.finished', room: id, atMs: createdAtMs, data: { reason: 'not_made' }, cause: String(key) });
}

export function* changeRoom(key: number, { name, metadata }: { name: string; metadata: string }): Work<void> {
  yield* change('UPDATE rooms SET name = ?, metadata = ? WHERE key = ?', name, metadata, key);
}

/** Keeps why the room is about to end, whoever is the first to say that it has; null: it goes on. */
export function* noteEnding(key: number, reason: string | null): Work<void> {
  yield* change(`UPDATE rooms SET finish_reason = ? WHERE key = ? AND state <> 'finished'`, reason, key);
}

/** Keeps when LiveKit made the room; events of an older room of this name do not count for this one. */
export function* noteMade(key: number, livekitCreatedAtMs: number): Work<void> {
  yield* change('UPDATE rooms SET livekit_created_at = ? WHERE key = ? AND livekit_created_at < ?', livekitCreatedAtMs, key, livekitCreatedAtMs);
}

/** The id's present life. */
export function* findRoom(id: string): Work<RoomRecord | null> {
  const row = yield* first(`SELECT ${COLUMNS} FROM rooms WHERE id = ? AND former = 0`, id);
  return row === undefined ? null : toRecord(row);
}

/** A life, also a former one. */
export function* findRoomByKey(key: number): Work<RoomRecord | null> {
  const row = yield* first(`SELECT ${COLUMNS} FROM rooms WHERE key = ?`, key);
  return row === undefined ? null : toRecord(row);
}

/** Present lives in the order of their ids. */
export function* listRooms({ limit, cursor, state = null, type = null }: RoomPage): Work<RoomRecord[]> {
  return (yield* all(LIST, cursor ?? '', state, type, limit)).map(toRecord);
}

const LIST = `SELECT ${COLUMNS} FROM rooms WHERE id > ?1 AND former = 0 AND (CAST(?2 AS TEXT) IS NULL OR state = ?2)
  AND (CAST(?3 AS TEXT) IS NULL OR type = ?3) ORDER BY id LIMIT ?4`;

/** Those that LiveKit has made and nobody has ended. */
export function* openRooms(): Work<RoomRecord[]> {
  return (yield* all(`SELECT ${COLUMNS} FROM rooms WHERE state <> 'finished' AND livekit_created_at > 0`)).map(toRecord);
}

function toRecord(row: Row): RoomRecord {
  return {
    key: Number(row['key']),
    id: String(row['id']),
    name: String(row['name']),
    type: row['type'] === 'voice' ? 'voice' : 'video',
    maxParticipants: Number(row['max_participants']),
    emptyTimeout: row['empty_timeout'] === null ? null : Number(row['empty_timeout']),
    metadata: String(row['metadata']),
    state: String(row['state']) as RoomRecord['state'],
    numParticipants: Number(row['num_participants']),
    createdAtMs: Number(row['created_at']),
    livekitCreatedAtMs: Number(row['livekit_created_at']),
    finishedAtMs: row['finished_at'] === null ? null : Number(row['finished_at']),
    finishReason: row['finish_reason'] === null ? null : String(row['finish_reason']),
    isCall: Number(row['is_call']) === 1,
  };
}
