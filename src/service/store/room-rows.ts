import type { DatabaseSync } from 'node:sqlite';

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
}

/** One life of a room's id. */
export interface RoomRecord extends NewRoom {
  readonly key: number;
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

/** The table `rooms`; to be within a transaction is the caller's. */
export interface RoomRows {
  /** Null (nothing changes) while the id's present life is not finished. */
  add(room: NewRoom): RoomRecord | null;
  /** As `add`; where the same request came before with this key, what was made then. */
  addOnce(room: NewRoom, once: Once): RoomRecord | 'mismatch' | null;
  change(key: number, wanted: { name: string; metadata: string }): void;
  /** Takes back a life that LiveKit did not make. */
  takeBack(room: RoomRecord): void;
  find(id: string): RoomRecord | null;
  /** Present lives in the order of their ids. */
  list(page: RoomPage): RoomRecord[];
  /** Those that LiveKit has made and nobody has ended. */
  open(): RoomRecord[];
  /** What LiveKit says of when it made the room. */
  noteMade(key: number, livekitCreatedAtMs: number): void;
}

const COLUMNS = `key, id, name, type, max_participants, empty_timeout, metadata, state, num_participants, created_at, livekit_created_at, finished_at, finish_reason`;

export function openRoomRows(db: DatabaseSync): RoomRows {
  const insert = db.prepare(
    `INSERT INTO rooms (id, name, type, max_participants, empty_timeout, metadata, state, created_at) VALUES (?, ?, ?, ?, ?, ?, 'new', ?)
     ON CONFLICT (id, former) DO NOTHING RETURNING ${COLUMNS}`,
  );
  const supersede = db.prepare(`UPDATE rooms SET former = key WHERE id = ? AND former = 0 AND state = 'finished'`);
  const remove = db.prepare(`DELETE FROM rooms WHERE key = ? AND state = 'new' AND livekit_created_at = 0`);
  const reinstate = db.prepare('UPDATE rooms SET former = 0 WHERE key = (SELECT max(key) FROM rooms WHERE id = ?)');
  const select = db.prepare(`SELECT ${COLUMNS} FROM rooms WHERE id = ? AND former = 0`);
  const page = db.prepare(
    `SELECT ${COLUMNS} FROM rooms WHERE id > ?1 AND former = 0 AND (?2 IS NULL OR state = ?2) AND (?3 IS NULL OR type = ?3) ORDER BY id LIMIT ?4`,
  );
  const change = db.prepare('UPDATE rooms SET name = ?, metadata = ? WHERE key = ?');
  const known = db.prepare('SELECT request, room_key FROM idempotency WHERE key = ? AND at >= ?');
  const remember = db.prepare('INSERT OR REPLACE INTO idempotency (key, request, room_key, at) VALUES (?, ?, ?, ?)');
  const forget = db.prepare('DELETE FROM idempotency WHERE at < ?');
  const byKey = db.prepare(`SELECT ${COLUMNS} FROM rooms WHERE key = ?`);
  const forgetKey = db.prepare('DELETE FROM idempotency WHERE room_key = ?');
  let remembered = 0;
  const open = db.prepare(`SELECT ${COLUMNS} FROM rooms WHERE state <> 'finished' AND livekit_created_at > 0`);
  const made = db.prepare('UPDATE rooms SET livekit_created_at = ? WHERE key = ? AND livekit_created_at < ?');

  const insertOne = ({ id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs }: NewRoom): RoomRecord | null => {
    const row = insert.get(id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs);
    return row === undefined ? null : toRecord(row);
  };
  const add = (room: NewRoom): RoomRecord | null => insertOne(room) ?? (supersede.run(room.id).changes === 0 ? null : insertOne(room));
  return {
    add,
    takeBack({ key, id }) {
      if (remove.run(key).changes === 0) return;
      reinstate.run(id);
      forgetKey.run(key);
    },
    find(id) {
      const row = select.get(id);
      return row === undefined ? null : toRecord(row);
    },
    list: ({ limit, cursor, state = null, type = null }) => page.all(cursor ?? '', state, type, limit).map(toRecord),
    change: (key, { name, metadata }) => void change.run(name, metadata, key),
    addOnce(room, once) {
      const before = known.get(once.key, room.createdAtMs - REMEMBER_MS);
      if (before !== undefined) {
        if (before['request'] !== once.request) return 'mismatch';
        const row = byKey.get(Number(before['room_key']));
        if (row !== undefined) return toRecord(row);
      }
      const fresh = add(room);
      if (fresh === null) return null;
      if (remembered++ % 1_000 === 0) forget.run(room.createdAtMs - REMEMBER_MS);
      remember.run(once.key, once.request, fresh.key, room.createdAtMs);
      return fresh;
    },
    open: () => open.all().map(toRecord),
    noteMade: (key, atMs) => void made.run(atMs, key, atMs),
  };
}

function toRecord(row: Record<string, unknown>): RoomRecord {
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
  };
}
