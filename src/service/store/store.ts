import { DatabaseSync } from 'node:sqlite';
import { inTransaction } from '../../clients/sqlite.ts';
import type { EventView, RoomView } from '../../contract/rooms.ts';
import type { StoredEvent } from '../webhooks/event.ts';
import { migrate } from './migrations.ts';

/** A room as LiveKit has just made it. */
export interface NewRoom {
  readonly id: string;
  readonly name: string;
  readonly maxParticipants: number;
  readonly createdAtMs: number;
  /** LiveKit's own creation time; events of an older room of this name do not count for this one. */
  readonly livekitCreatedAtMs: number;
}

/** The service's durable state. Every method is one transaction. */
export interface Store {
  /** Adds the room, or starts a finished one anew; false (nothing changes) while a room of this id is not finished. */
  addRoom(room: NewRoom): boolean;
  findRoom(id: string): RoomView | null;
  /** Rooms in the order of their ids, those after `cursor`. */
  listRooms(page: { limit: number; cursor: string | null }): RoomView[];
  /** Commits the event and what it says about its room; false when its id was known already (nothing changes). */
  addEvent(event: StoredEvent): boolean;
  eventsOf(room: string): EventView[];
  /** Commits a change to the disk, as an event would be; throws where that fails (full, read-only, locked). */
  checkWritable(): void;
  close(): void;
}

/** Opens (and migrates) the database file: WAL, synchronous=FULL, so a committed event survives a power cut. */
export function openStore(path: string): Store {
  const db = new DatabaseSync(path);
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = FULL; PRAGMA busy_timeout = 5000;');
  migrate(db);
  const rooms = `SELECT id, name, max_participants AS maxParticipants, state, created_at AS createdAt,
    iif(state = 'finished', 0, (SELECT count(*) FROM participants p WHERE p.room = rooms.id AND p.left = 0 AND p.room_created_at >= livekit_created_at))
    AS numParticipants FROM rooms`;
  const insertRoom = db.prepare(
    `INSERT INTO rooms (id, name, max_participants, state, created_at, livekit_created_at) VALUES (?, ?, ?, 'new', ?, ?)
     ON CONFLICT (id) DO UPDATE SET name = excluded.name, max_participants = excluded.max_participants, state = 'new',
       created_at = excluded.created_at, livekit_created_at = excluded.livekit_created_at, finished_at = NULL WHERE state = 'finished'`,
  );
  const selectRoom = db.prepare(`${rooms} WHERE id = ?`);
  const selectRooms = db.prepare(`${rooms} WHERE id > ? ORDER BY id LIMIT ?`);
  const insertEvent = db.prepare('INSERT OR IGNORE INTO events (id, room, event, identity, received_at, body, room_created_at) VALUES (?, ?, ?, ?, ?, ?, ?)');
  const selectEvents = db.prepare('SELECT id, event, identity, received_at AS receivedAt FROM events WHERE room = ? ORDER BY received_at, rowid');
  // The state follows from which events exist, not from their order: they may come before the room's row, or finished before started.
  const settleRoom = db.prepare(
    `UPDATE rooms SET state = 'live' WHERE id = ? AND state = 'new' AND EXISTS (SELECT 1 FROM events e
       WHERE e.room = rooms.id AND e.event IN ('room_started', 'participant_joined') AND e.room_created_at >= livekit_created_at)`,
  );
  const finishRoom = db.prepare(
    `UPDATE rooms SET state = 'finished', finished_at = ? WHERE id = ? AND state <> 'finished' AND EXISTS (SELECT 1 FROM events e
       WHERE e.room = rooms.id AND e.event = 'room_finished' AND e.room_created_at >= livekit_created_at)`,
  );
  const addParticipant = db.prepare('INSERT OR IGNORE INTO participants (room, identity, sid, room_created_at) VALUES (?, ?, ?, ?)');
  const endParticipant = db.prepare(
    'INSERT INTO participants (room, identity, sid, room_created_at, left) VALUES (?, ?, ?, ?, 1) ON CONFLICT (room, sid) DO UPDATE SET left = 1',
  );
  const writeCheck = db.prepare('INSERT INTO write_checks (id, checks) VALUES (1, 1) ON CONFLICT (id) DO UPDATE SET checks = checks + 1');

  function settle(id: string, nowMs: number): void {
    settleRoom.run(id);
    finishRoom.run(nowMs, id);
  }

  function applyEvent({ room, event, participant, roomCreatedAtMs, receivedAtMs }: StoredEvent): void {
    if (participant !== null && event === 'participant_joined') addParticipant.run(room, participant.identity, participant.sid, roomCreatedAtMs);
    if (participant !== null && (event === 'participant_left' || event === 'participant_connection_aborted'))
      endParticipant.run(room, participant.identity, participant.sid, roomCreatedAtMs);
    settle(room, receivedAtMs);
  }

  return {
    addRoom: ({ id, name, maxParticipants, createdAtMs, livekitCreatedAtMs }) =>
      inTransaction(db, () => {
        const { changes } = insertRoom.run(id, name, maxParticipants, createdAtMs, livekitCreatedAtMs);
        if (changes > 0) settle(id, createdAtMs);
        return changes > 0;
      }),
    findRoom(id) {
      const row = selectRoom.get(id);
      return row === undefined ? null : roomView(row);
    },
    listRooms: ({ limit, cursor }) => selectRooms.all(cursor ?? '', limit).map(roomView),
    addEvent: (event) =>
      inTransaction(db, () => {
        const { id, room, participant, receivedAtMs, body, roomCreatedAtMs } = event;
        const { changes } = insertEvent.run(id, room, event.event, participant?.identity ?? null, receivedAtMs, body, roomCreatedAtMs);
        if (changes > 0) applyEvent(event);
        return changes > 0;
      }),
    eventsOf: (id) => selectEvents.all(id).map(eventView),
    checkWritable: () => void writeCheck.run(),
    close: () => db.close(),
  };
}

function roomView(row: Record<string, unknown>): RoomView {
  return {
    id: String(row['id']),
    name: String(row['name']),
    maxParticipants: Number(row['maxParticipants']),
    state: String(row['state']) as RoomView['state'],
    numParticipants: Number(row['numParticipants']),
    createdAt: new Date(Number(row['createdAt'])).toISOString(),
  };
}

function eventView(row: Record<string, unknown>): EventView {
  return {
    id: String(row['id']),
    event: String(row['event']),
    identity: row['identity'] === null ? null : String(row['identity']),
    receivedAt: new Date(Number(row['receivedAt'])).toISOString(),
  };
}
