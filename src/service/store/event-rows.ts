import type { DatabaseSync } from 'node:sqlite';
import type { EventView } from '../../contract/rooms.ts';
import type { StoredEvent } from '../webhooks/event.ts';

/** The tables `events` and `participants`, and what both say of a room; to be within a transaction is the caller's. */
export interface EventRows {
  /** Keeps the event and what it says about its room; false when its id was known already (nothing changes). */
  add(event: StoredEvent): boolean;
  /** Ends a life of a room, for this reason; false where that has ended already. */
  finish(roomKey: number, atMs: number, reason: string): boolean;
  /** Those of all lives of the room's id, in the order in which they came. */
  of(room: string): EventView[];
  /** Who is in this life of a room. */
  present(roomKey: number): Array<{ sid: string; identity: string }>;
  /** True for who is in this life of a room. */
  isPresent(roomKey: number, identity: string): boolean;
}

/** The life of a room that an event is about. */
interface Life {
  readonly key: number;
  /** False for a former one, and for an event that does not say when its room was made: such events are kept, and change nothing. */
  readonly isPresent: boolean;
  readonly isFinished: boolean;
  readonly finishedAtMs: number | null;
}

/** So many events are looked through in vain for one room's. */
const INDEX_EVERY = 2_000;
/** Clocks of one fleet differ by less than this. */
const LEEWAY_MS = 60_000;
const NO_LIFE: Life = { key: 0, isPresent: false, isFinished: true, finishedAtMs: null };

export function openEventRows(db: DatabaseSync): EventRows {
  const insert = db.prepare(
    'INSERT INTO events (at, id, room, room_key, event, identity, received_at, is_made_up, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT (at, id) DO NOTHING',
  );
  const keys = 'SELECT key FROM rooms WHERE id = ?';
  const select = db.prepare(
    `SELECT id, event, identity, received_at, is_made_up, seq FROM events WHERE seq IN (SELECT seq FROM room_events WHERE room_key IN (${keys}))
     UNION ALL SELECT id, event, identity, received_at, is_made_up, seq FROM events WHERE seq > (SELECT seq FROM room_events_end) AND room_key IN (${keys}) ORDER BY seq`,
  );
  const end = db.prepare('SELECT seq FROM room_events_end');
  const extend = db.prepare('INSERT INTO room_events (room_key, seq) SELECT room_key, seq FROM events WHERE seq > ? AND room_key > 0 ORDER BY room_key, seq');
  const moveEnd = db.prepare('UPDATE room_events_end SET seq = ?');
  let indexedTo = Number(end.get()?.['seq'] ?? 0);
  const present = db.prepare('SELECT key, state, created_at, livekit_created_at, finished_at FROM rooms WHERE id = ? AND former = 0');
  const former = db.prepare('SELECT key FROM rooms WHERE id = ? AND former > 0 AND livekit_created_at = ?');
  const adopt = db.prepare('UPDATE rooms SET livekit_created_at = ? WHERE key = ?');
  const start = db.prepare(`UPDATE rooms SET state = 'live' WHERE key = ? AND state = 'new'`);
  const enter = db.prepare(`UPDATE rooms SET state = 'live', num_participants = num_participants + 1 WHERE key = ? AND state <> 'finished'`);
  const exit = db.prepare(`UPDATE rooms SET num_participants = num_participants - 1 WHERE key = ? AND state <> 'finished'`);
  const finish = db.prepare(
    `UPDATE rooms SET state = 'finished', num_participants = 0, finished_at = ?, finish_reason = ? WHERE key = ? AND state <> 'finished'`,
  );
  const finishAll = db.prepare(`UPDATE participants SET left_at = ?, reason = 'ROOM_CLOSED' WHERE room_key = ? AND left_at IS NULL`);
  const addOne = db.prepare(
    'INSERT INTO participants (room_key, sid, identity, name, joined_at, left_at) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (room_key, sid) DO NOTHING',
  );
  const endOne = db.prepare('UPDATE participants SET left_at = ?, reason = ? WHERE room_key = ? AND sid = ? AND left_at IS NULL');
  const addEnded = db.prepare(
    'INSERT INTO participants (room_key, sid, identity, name, joined_at, left_at, reason) VALUES (?, ?, ?, ?, ?, ?, ?) ON CONFLICT (room_key, sid) DO NOTHING',
  );
  const findAll = db.prepare('SELECT sid, identity FROM participants WHERE room_key = ? AND left_at IS NULL');
  const findOne = db.prepare('SELECT 1 FROM participants WHERE room_key = ? AND identity = ? AND left_at IS NULL LIMIT 1');

  const lifeOf = ({ room, roomCreatedAtMs }: StoredEvent): Life => {
    const row = room === '' ? undefined : present.get(room);
    if (row === undefined) return NO_LIFE;
    const key = Number(row['key']);
    const madeAtMs = Number(row['livekit_created_at']);
    const life = { key, isFinished: row['state'] === 'finished', finishedAtMs: row['finished_at'] === null ? null : Number(row['finished_at']) };
    if (roomCreatedAtMs === 0) return { ...life, isPresent: false };
    if (madeAtMs > 0 && roomCreatedAtMs >= madeAtMs) return { ...life, isPresent: true };
    // Older than the present life, or the first that is heard of it: LiveKit's answer to its creation is on its way.
    const before = former.get(room, roomCreatedAtMs);
    if (before !== undefined) return { ...NO_LIFE, key: Number(before['key']) };
    const isFirst = madeAtMs === 0 && roomCreatedAtMs >= Number(row['created_at']) - LEEWAY_MS;
    if (isFirst) adopt.run(roomCreatedAtMs, key);
    return { ...life, isPresent: isFirst };
  };

  const finishRoom = (key: number, atMs: number, reason: string): boolean => {
    if (finish.run(atMs, reason, key).changes === 0) return false;
    finishAll.run(atMs, key);
    return true;
  };

  const apply = ({ event, participant: who, atMs }: StoredEvent, { key, isFinished, finishedAtMs }: Life): void => {
    switch (event) {
      case 'room_started':
        start.run(key);
        return;
      case 'room_finished':
        finishRoom(key, atMs, 'empty');
        return;
      case 'participant_joined': {
        const leftAtMs = isFinished ? Math.max(finishedAtMs ?? 0, atMs) : null;
        // Nothing is added where it is known already that they left.
        if (who !== null && addOne.run(key, who.sid, who.identity, who.name, who.joinedAtMs ?? atMs, leftAtMs).changes > 0) enter.run(key);
        else start.run(key);
        return;
      }
      case 'participant_left':
      case 'participant_connection_aborted':
        if (who === null) return;
        if (endOne.run(atMs, who.reason, key, who.sid).changes > 0) exit.run(key);
        else addEnded.run(key, who.sid, who.identity, who.name, who.joinedAtMs, atMs, who.reason);
    }
  };

  /** Many at a time: see the migration. */
  const index = (seq: number): void => {
    // A transaction that was rolled back took the index back with it.
    if (seq - indexedTo < INDEX_EVERY || seq - (indexedTo = Number(end.get()?.['seq'])) < INDEX_EVERY) return;
    extend.run(indexedTo);
    moveEnd.run(seq);
    indexedTo = seq;
  };

  return {
    add(event) {
      const life = lifeOf(event);
      const { id, room, participant, receivedAtMs, isMadeUp, body, atMs } = event;
      const { changes, lastInsertRowid } = insert.run(
        Math.floor(atMs / 1000),
        id,
        room,
        life.key,
        event.event,
        participant?.identity ?? null,
        receivedAtMs,
        isMadeUp ? 1 : 0,
        body,
      );
      if (changes === 0) return false;
      if (life.isPresent) apply(event, life);
      index(Number(lastInsertRowid));
      return true;
    },
    finish: finishRoom,
    of: (room) => select.all(room, room).map(toView),
    present: (roomKey) => findAll.all(roomKey).map((row) => ({ sid: String(row['sid']), identity: String(row['identity']) })),
    isPresent: (roomKey, identity) => findOne.get(roomKey, identity) !== undefined,
  };
}

function toView(row: Record<string, unknown>): EventView {
  return {
    id: String(row['id']),
    event: String(row['event']),
    identity: row['identity'] === null ? null : String(row['identity']),
    receivedAt: new Date(Number(row['received_at'])).toISOString(),
    isMadeUp: row['is_made_up'] === 1,
  };
}
