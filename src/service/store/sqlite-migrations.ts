import type { DatabaseSync } from 'node:sqlite';
import { SchemaError } from './database.ts';

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
  // A row for each life of a room's id (former = 0: the present one, else its own key). Small keys in order of time keep what is written
  // at one time on few pages; so does an event's own time before its random id. Numbers are kept instead of counted.
  `ALTER TABLE rooms RENAME TO old_rooms;
   CREATE TABLE rooms (key INTEGER PRIMARY KEY, id TEXT NOT NULL, former INTEGER NOT NULL DEFAULT 0, name TEXT NOT NULL, type TEXT NOT NULL DEFAULT 'video',
     max_participants INTEGER NOT NULL, empty_timeout INTEGER, metadata TEXT NOT NULL DEFAULT '', state TEXT NOT NULL, num_participants INTEGER NOT NULL DEFAULT 0,
     created_at INTEGER NOT NULL, livekit_created_at INTEGER NOT NULL DEFAULT 0, finished_at INTEGER, finish_reason TEXT) STRICT;
   INSERT INTO rooms (id, name, max_participants, state, created_at, livekit_created_at, finished_at)
     SELECT id, name, max_participants, state, created_at, livekit_created_at, finished_at FROM old_rooms ORDER BY created_at, id;
   CREATE UNIQUE INDEX rooms_by_id ON rooms (id, former);
   ALTER TABLE participants RENAME TO old_participants;
   CREATE TABLE participants (room_key INTEGER NOT NULL, sid TEXT NOT NULL, identity TEXT NOT NULL, name TEXT NOT NULL DEFAULT '', joined_at INTEGER,
     left_at INTEGER, reason TEXT, PRIMARY KEY (room_key, sid)) STRICT, WITHOUT ROWID;
   INSERT OR IGNORE INTO participants (room_key, sid, identity, left_at)
     SELECT r.key, p.sid, p.identity, iif(p.left OR r.state = 'finished', coalesce(r.finished_at, r.created_at), NULL)
     FROM old_participants p JOIN rooms r ON r.id = p.room WHERE p.room_created_at >= r.livekit_created_at;
   UPDATE rooms SET num_participants = (SELECT count(*) FROM participants p WHERE p.room_key = rooms.key AND p.left_at IS NULL) WHERE state <> 'finished';
   DROP TABLE old_participants; DROP TABLE old_rooms; DROP INDEX events_by_room; DROP INDEX events_by_kind;
   ALTER TABLE events RENAME TO old_events;
   CREATE TABLE events (seq INTEGER PRIMARY KEY, at INTEGER NOT NULL, id TEXT NOT NULL, room TEXT NOT NULL, room_key INTEGER NOT NULL, event TEXT NOT NULL,
     identity TEXT, received_at INTEGER NOT NULL, is_made_up INTEGER NOT NULL DEFAULT 0, body TEXT NOT NULL) STRICT;
   INSERT INTO events (at, id, room, room_key, event, identity, received_at, body)
     SELECT coalesce(CAST(json_extract(body, '$.createdAt') AS INTEGER), 0), e.id, e.room, coalesce(r.key, 0), e.event, e.identity, e.received_at, e.body
     FROM old_events e LEFT JOIN rooms r ON r.id = e.room ORDER BY e.received_at, e.rowid;
   DROP TABLE old_events;
   CREATE UNIQUE INDEX events_by_id ON events (at, id);`,
  // An index that is brought up to date many events at a time: each writes to the page of its room, and the events of a moment are of many rooms.
  `CREATE TABLE room_events (room_key INTEGER NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (room_key, seq)) STRICT, WITHOUT ROWID;
   CREATE TABLE room_events_end (id INTEGER PRIMARY KEY CHECK (id = 1), seq INTEGER NOT NULL) STRICT;
   INSERT INTO room_events (room_key, seq) SELECT room_key, seq FROM events WHERE room_key > 0;
   INSERT INTO room_events_end (id, seq) SELECT 1, coalesce(max(seq), 0) FROM events;`,
  // What was made for an Idempotency-Key.
  `CREATE TABLE idempotency (key TEXT PRIMARY KEY, request TEXT NOT NULL, room_key INTEGER NOT NULL, at INTEGER NOT NULL) STRICT, WITHOUT ROWID;`,
  // The rooms that are compared with LiveKit's; they are few among all that ever were.
  `CREATE INDEX rooms_open ON rooms (key) WHERE state <> 'finished' AND livekit_created_at > 0;`,
  // Which rooms ended long ago.
  `CREATE INDEX rooms_finished ON rooms (finished_at) WHERE state = 'finished';`,
  // The operator's endpoints (events: comma-separated), what of them changes often, what waits for them, and what they did not take in time.
  // No seq comes twice, or a message might be taken for one before it.
  `CREATE TABLE webhook_endpoints (id TEXT PRIMARY KEY, url TEXT NOT NULL, description TEXT NOT NULL, events TEXT NOT NULL, secret TEXT NOT NULL,
     former_secret TEXT, former_until INTEGER, timeout_ms INTEGER NOT NULL, is_enabled INTEGER NOT NULL, disabled_reason TEXT, created_at INTEGER NOT NULL) STRICT;
   CREATE TABLE webhook_states (endpoint TEXT PRIMARY KEY, claimed_by TEXT NOT NULL DEFAULT '', claimed_until INTEGER NOT NULL DEFAULT 0,
     failing_since INTEGER, error TEXT) STRICT;
   CREATE TABLE outbox (seq INTEGER PRIMARY KEY AUTOINCREMENT, endpoint TEXT NOT NULL, room TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL,
     queued_at INTEGER NOT NULL DEFAULT (CAST(unixepoch('subsec') * 1000 AS INTEGER)), attempts INTEGER NOT NULL DEFAULT 0, due_at INTEGER NOT NULL DEFAULT 0,
     error TEXT) STRICT;
   CREATE INDEX outbox_by_endpoint ON outbox (endpoint, seq);
   CREATE TABLE dead_letters (seq INTEGER PRIMARY KEY, endpoint TEXT NOT NULL, room TEXT NOT NULL, id TEXT NOT NULL, type TEXT NOT NULL, body TEXT NOT NULL,
     queued_at INTEGER NOT NULL, died_at INTEGER NOT NULL, attempts INTEGER NOT NULL, error TEXT NOT NULL) STRICT;
   CREATE INDEX dead_letters_by_endpoint ON dead_letters (endpoint, seq);`,
  // Bearer tokens of applications, by their SHA-256; scopes with spaces between.
  `CREATE TABLE tokens (id TEXT PRIMARY KEY, name TEXT NOT NULL, sha256 TEXT NOT NULL UNIQUE, scopes TEXT NOT NULL, created_at INTEGER NOT NULL,
     expires_at INTEGER, last_used_at INTEGER) STRICT, WITHOUT ROWID;`,
  // A room with invitees is a call; `deadline`: when something happens to it by itself.
  `ALTER TABLE rooms ADD COLUMN is_call INTEGER NOT NULL DEFAULT 0;
   CREATE TABLE calls (room_key INTEGER PRIMARY KEY, caller TEXT NOT NULL, mode TEXT NOT NULL, state TEXT NOT NULL, ring_ms INTEGER NOT NULL, grace_ms INTEGER NOT NULL,
     busy TEXT NOT NULL, created_at INTEGER NOT NULL, started_at INTEGER, ended_at INTEGER, reason TEXT, must_close INTEGER NOT NULL, chores_at INTEGER,
     deadline INTEGER) STRICT;
   CREATE INDEX calls_due ON calls (deadline) WHERE deadline IS NOT NULL;
   CREATE TABLE call_parties (room_key INTEGER NOT NULL, position INTEGER NOT NULL, identity TEXT NOT NULL, state TEXT NOT NULL, invited_by TEXT,
     invited_at INTEGER NOT NULL, accepted_at INTEGER, joined_at INTEGER, left_at INTEGER, reason TEXT, deadline INTEGER, must_evict INTEGER NOT NULL,
     PRIMARY KEY (room_key, identity)) STRICT, WITHOUT ROWID;
   CREATE INDEX call_parties_live ON call_parties (identity) WHERE state IN ('ringing', 'accepted', 'joined');
   CREATE INDEX call_parties_by_identity ON call_parties (identity, room_key);`,
];

/**
 * Brings the schema to this program's version, one transaction a step.
 * @throws SchemaError when the file was written by a newer program
 */
export function migrate(db: DatabaseSync): void {
  const version = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  if (version > MIGRATIONS.length) throw new SchemaError(version, MIGRATIONS.length);
  for (const [index, sql] of MIGRATIONS.entries()) {
    if (index >= version) db.exec(`BEGIN IMMEDIATE; ${sql} PRAGMA user_version = ${index + 1}; COMMIT;`);
  }
}
