import { DatabaseSync } from 'node:sqlite';
import type { RoomView } from '../../contract/rooms.ts';
import type { StoredEvent } from '../webhooks/event.ts';

const MIGRATIONS = [
  `CREATE TABLE rooms (id TEXT PRIMARY KEY, name TEXT NOT NULL, max_participants INTEGER NOT NULL, state TEXT NOT NULL, created_at INTEGER NOT NULL, finished_at INTEGER) STRICT;
   CREATE TABLE participants (room TEXT NOT NULL, identity TEXT NOT NULL, sid TEXT NOT NULL, left INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (room, sid)) STRICT;
   CREATE TABLE events (id TEXT PRIMARY KEY, room TEXT NOT NULL, event TEXT NOT NULL, identity TEXT, received_at INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
   CREATE INDEX events_by_room ON events (room, received_at);`,
];

/** The service's durable state. Every method is one transaction. */
export interface Store {
  addRoom(room: { id: string; name: string; maxParticipants: number; nowMs: number }): void;
  findRoom(id: string): RoomView | null;
  listRooms(page: { limit: number; cursor: string | null }): RoomView[];
  /** Commits the event and what it says about its room; false when its id was known already (nothing changes). */
  addEvent(event: StoredEvent): boolean;
  eventsOf(room: string): Array<{ id: string; event: string; identity: string | null; receivedAt: string }>;
  /** Throws when the database cannot be written. */
  checkWritable(): void;
  close(): void;
}

/** Opens (and migrates) the database file: WAL, synchronous=FULL, so a committed event survives a power cut. */
export function openStore(path: string): Store {
  const db = new DatabaseSync(path);
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;');
  const { user_version: version } = db.prepare('PRAGMA user_version').get() as { user_version: number };
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index >= version) db.exec(`BEGIN IMMEDIATE; ${sql} PRAGMA user_version = ${index + 1}; COMMIT;`);
  }
  const room = `SELECT id, name, max_participants AS maxParticipants, state, created_at AS createdAt,
    (SELECT count(*) FROM participants p WHERE p.room = rooms.id AND p.left = 0) AS numParticipants FROM rooms`;
  const insertRoom = db.prepare(
    `INSERT INTO rooms VALUES (?, ?, ?, 'new', ?, NULL) ON CONFLICT (id) DO UPDATE SET name = excluded.name, max_participants = excluded.max_participants, state = 'new', created_at = excluded.created_at, finished_at = NULL WHERE state = 'finished'`,
  );
  const selectRoom = db.prepare(`${room} WHERE id = ?`);
  const selectRooms = db.prepare(`${room} WHERE id > ? ORDER BY id LIMIT ?`);
  const insertEvent = db.prepare('INSERT OR IGNORE INTO events VALUES (?, ?, ?, ?, ?, ?)');
  const selectEvents = db.prepare('SELECT id, event, identity, received_at AS receivedAt FROM events WHERE room = ? ORDER BY received_at, rowid');
  const setLive = db.prepare(`UPDATE rooms SET state = 'live' WHERE id = ? AND state = 'new' AND created_at <= ?`);
  const setFinished = db.prepare(`UPDATE rooms SET state = 'finished', finished_at = ? WHERE id = ? AND created_at <= ?`);
  const addParticipant = db.prepare('INSERT OR IGNORE INTO participants (room, identity, sid) VALUES (?, ?, ?)');
  const endParticipant = db.prepare('INSERT INTO participants (room, identity, sid, left) VALUES (?, ?, ?, 1) ON CONFLICT (room, sid) DO UPDATE SET left = 1');
  const endAll = db.prepare('UPDATE participants SET left = 1 WHERE room = ?');

  function applyEvent({ room: id, event, participant, roomCreatedAtMs, receivedAtMs }: StoredEvent): void {
    // LiveKit gives whole seconds: an event of the room's own second counts.
    const upTo = roomCreatedAtMs + 1000;
    switch (event) {
      case 'room_started':
        setLive.run(id, upTo);
        break;
      case 'room_finished':
        setFinished.run(receivedAtMs, id, upTo);
        endAll.run(id);
        break;
      case 'participant_joined':
        if (participant !== null) addParticipant.run(id, participant.identity, participant.sid);
        setLive.run(id, upTo);
        break;
      case 'participant_left':
      case 'participant_connection_aborted':
        if (participant !== null) endParticipant.run(id, participant.identity, participant.sid);
        break;
    }
  }

  return {
    addRoom: ({ id, name, maxParticipants, nowMs }) => void insertRoom.run(id, name, maxParticipants, nowMs),
    findRoom(id) {
      const row = selectRoom.get(id);
      return row === undefined ? null : view(row);
    },
    listRooms: ({ limit, cursor }) => selectRooms.all(cursor ?? '', limit).map(view),
    addEvent(event) {
      db.exec('BEGIN IMMEDIATE');
      try {
        const { changes } = insertEvent.run(event.id, event.room, event.event, event.participant?.identity ?? null, event.receivedAtMs, event.body);
        if (changes > 0) applyEvent(event);
        db.exec('COMMIT');
        return changes > 0;
      } catch (error) {
        db.exec('ROLLBACK');
        throw error;
      }
    },
    eventsOf: (id) =>
      selectEvents.all(id).map((row) => ({
        id: String(row['id']),
        event: String(row['event']),
        identity: row['identity'] === null ? null : String(row['identity']),
        receivedAt: new Date(Number(row['receivedAt'])).toISOString(),
      })),
    checkWritable: () => db.exec('BEGIN IMMEDIATE; ROLLBACK'),
    close: () => db.close(),
  };
}

function view(row: Record<string, unknown>): RoomView {
  return {
    id: String(row['id']),
    name: String(row['name']),
    maxParticipants: Number(row['maxParticipants']),
    state: String(row['state']) as RoomView['state'],
    numParticipants: Number(row['numParticipants']),
    createdAt: new Date(Number(row['createdAt'])).toISOString(),
  };
}
