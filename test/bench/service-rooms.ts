import { randomUUID } from 'node:crypto';
import { DatabaseSync } from 'node:sqlite';
import { inTransaction } from '../../src/clients/sqlite.ts';

/** Writes rooms that have ended, each with two participants and their events, into the service's database, as if they had been there for long. */
export function storeRooms(database: string, count: number): void {
  const db = new DatabaseSync(database);
  db.exec('PRAGMA synchronous = OFF');
  const room = db.prepare(
    `INSERT INTO rooms (id, name, max_participants, state, created_at, livekit_created_at, finished_at, finish_reason)
     VALUES (?, 'stored', 0, 'finished', ?, ?, ?, 'empty') RETURNING key`,
  );
  const participant = db.prepare(`INSERT INTO participants (room_key, sid, identity, joined_at, left_at) VALUES (?, ?, ?, ?, ?)`);
  const event = db.prepare('INSERT INTO events (at, id, room, room_key, event, identity, received_at, body) VALUES (?, ?, ?, ?, ?, ?, ?, ?)');
  const indexed = db.prepare('INSERT INTO room_events (room_key, seq) SELECT room_key, seq FROM events WHERE room_key > 0');
  const beganMs = Date.now() - 30 * 24 * 3600 * 1000;
  inTransaction(db, () => {
    for (let index = 0; index < count; index++) {
      const atMs = beganMs + index * 1000;
      const id = `r-${randomUUID()}`;
      const key = Number(room.get(id, atMs, atMs, atMs + 60_000)?.['key']);
      for (const identity of ['ann', 'bob']) {
        participant.run(key, `PA_${identity}${index}`, identity, atMs, atMs + 60_000);
        event.run(
          Math.floor(atMs / 1000),
          `EV_${randomUUID()}`,
          id,
          key,
          'participant_joined',
          identity,
          atMs,
          JSON.stringify({ room: id, text: 'x'.repeat(400) }),
        );
      }
    }
    indexed.run();
    db.exec('UPDATE room_events_end SET seq = (SELECT coalesce(max(seq), 0) FROM events)');
  });
  // On the disk before anything is measured, or the first who waits for the disk waits for all of this.
  db.exec('PRAGMA synchronous = FULL; PRAGMA wal_checkpoint(TRUNCATE);');
  db.close();
}
