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

/** The table `rooms`; to be within a transaction is the caller's. */
export interface RoomRows {
  /** Null (nothing changes) while the id's present life is not finished. */
  add(room: NewRoom): RoomRecord | null;
  /** Takes back a life that LiveKit did not make. */
  takeBack(room: RoomRecord): void;
  find(id: string): RoomRecord | null;
  /** Present lives in the order of their ids. */
  list(page: { limit: number; cursor: string | null }): RoomRecord[];
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
  const page = db.prepare(`SELECT ${COLUMNS} FROM rooms WHERE id > ? AND former = 0 ORDER BY id LIMIT ?`);
  const made = db.prepare('UPDATE rooms SET livekit_created_at = ? WHERE key = ? AND livekit_created_at < ?');

  const insertOne = ({ id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs }: NewRoom): RoomRecord | null => {
    const row = insert.get(id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs);
    return row === undefined ? null : toRecord(row);
  };
  return {
    add: (room) => insertOne(room) ?? (supersede.run(room.id).changes === 0 ? null : insertOne(room)),
    takeBack({ key, id }) {
      if (remove.run(key).changes > 0) reinstate.run(id);
    },
    find(id) {
      const row = select.get(id);
      return row === undefined ? null : toRecord(row);
    },
    list: ({ limit, cursor }) => page.all(cursor ?? '', limit).map(toRecord),
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
