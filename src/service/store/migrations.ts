import type { DatabaseSync } from 'node:sqlite';

/** Entry n takes the schema from user_version n to n + 1. Add at the end; never change one that was released. */
const MIGRATIONS = [
  `CREATE TABLE rooms (id TEXT PRIMARY KEY, name TEXT NOT NULL, max_participants INTEGER NOT NULL, state TEXT NOT NULL, created_at INTEGER NOT NULL, finished_at INTEGER) STRICT;
   CREATE TABLE participants (room TEXT NOT NULL, identity TEXT NOT NULL, sid TEXT NOT NULL, left INTEGER NOT NULL DEFAULT 0, PRIMARY KEY (room, sid)) STRICT;
   CREATE TABLE events (id TEXT PRIMARY KEY, room TEXT NOT NULL, event TEXT NOT NULL, identity TEXT, received_at INTEGER NOT NULL, body TEXT NOT NULL) STRICT;
   CREATE INDEX events_by_room ON events (room, received_at);`,
  // LiveKit's own creation time (ms) tells one life of a room name from the next; before, only whole seconds of the service's clock did.
  `ALTER TABLE rooms ADD COLUMN livekit_created_at INTEGER NOT NULL DEFAULT 0;
   UPDATE rooms SET livekit_created_at = created_at - 1000;
   ALTER TABLE events ADD COLUMN room_created_at INTEGER NOT NULL DEFAULT 0;
   UPDATE events SET room_created_at = coalesce(json_extract(body, '$.room.creationTimeMs'), json_extract(body, '$.room.creationTime') * 1000, 0);
   ALTER TABLE participants ADD COLUMN room_created_at INTEGER NOT NULL DEFAULT 0;
   UPDATE participants SET room_created_at = coalesce((SELECT max(livekit_created_at) FROM rooms WHERE rooms.id = participants.room), 0);
   CREATE INDEX events_by_kind ON events (room, event, room_created_at);`,
  // One row that the readiness check writes.
  `CREATE TABLE write_checks (id INTEGER PRIMARY KEY CHECK (id = 1), checks INTEGER NOT NULL) STRICT;`,
];

/**
 * Brings the schema to this program's version, one transaction a step.
 * @throws Error when the file was written by a newer program
 */
export function migrate(db: DatabaseSync): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > MIGRATIONS.length) throw new Error(`The database has schema ${version}; this program knows up to ${MIGRATIONS.length}`);
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index >= version) db.exec(`BEGIN IMMEDIATE; ${sql} PRAGMA user_version = ${index + 1}; COMMIT;`);
  }
}
