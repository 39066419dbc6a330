import { DatabaseSync } from 'node:sqlite';
import { inTransaction } from '../../clients/sqlite.ts';

/** An event as it came from LiveKit, unchanged. */
export interface StoredEvent {
  readonly eventId: string;
  /** Order is kept within a room; '' for events without one. */
  readonly room: string;
  readonly body: Uint8Array;
  readonly authorization: string;
  readonly receivedAtMs: number;
}

/** One event on its way to one URL. */
export interface Delivery {
  readonly id: number;
  readonly body: Uint8Array;
  readonly authorization: string;
  readonly receivedAtMs: number;
}

/** A queue of deliveries that are made one after the other. */
export interface Lane {
  readonly url: string;
  readonly room: string;
}

/** Webhooks on disk until they are delivered. */
export interface WebhookStore {
  /** Commits the event, one row per URL, before it returns; false for an event that was accepted before. */
  accept(event: StoredEvent, urls: readonly string[]): boolean;
  /** The lanes that hold something. */
  lanes(): Lane[];
  /** The oldest delivery of a lane, null where it is empty. */
  head(lane: Lane): Delivery | null;
  remove(id: number): void;
  /** Drops the deliveries to URLs that are not in `urls`; gives their number. */
  dropOtherUrls(urls: readonly string[]): number;
  /** Forgets event ids that were received before `beforeMs`. */
  forgetSeen(beforeMs: number): void;
  close(): void;
}

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA busy_timeout = 2000;
  CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY, received_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS seen_by_time ON seen (received_ms);
  CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL, room TEXT NOT NULL,
    body BLOB NOT NULL, authorization TEXT NOT NULL, received_ms INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS deliveries_by_lane ON deliveries (url, room, id);
`;

/** Opens or creates the database at `path`. Throws SQLite's error where that cannot be done. */
export function openWebhookStore(path: string): WebhookStore {
  const db = new DatabaseSync(path);
  db.exec(SCHEMA);
  const see = db.prepare('INSERT OR IGNORE INTO seen (event_id, received_ms) VALUES (?, ?)');
  const add = db.prepare('INSERT INTO deliveries (url, room, body, authorization, received_ms) VALUES (?, ?, ?, ?, ?)');
  const first = db.prepare('SELECT id, body, authorization, received_ms FROM deliveries WHERE url = ? AND room = ? ORDER BY id LIMIT 1');
  const removeOne = db.prepare('DELETE FROM deliveries WHERE id = ?');
  const forget = db.prepare('DELETE FROM seen WHERE received_ms < ?');

  const accept = (event: StoredEvent, urls: readonly string[]): boolean => {
    if (see.run(event.eventId, event.receivedAtMs).changes === 0) return false;
    for (const url of urls) add.run(url, event.room, event.body, event.authorization, event.receivedAtMs);
    return true;
  };
  const laneRows = (): Lane[] =>
    db
      .prepare('SELECT DISTINCT url, room FROM deliveries')
      .all()
      .map((row) => ({ url: String(row['url']), room: String(row['room']) }));

  return {
    accept: (event, urls) => inTransaction(db, () => accept(event, urls)),
    lanes: laneRows,
    head(lane) {
      const row = first.get(lane.url, lane.room);
      if (row === undefined || !(row['body'] instanceof Uint8Array)) return null;
      return { id: Number(row['id']), body: row['body'], authorization: String(row['authorization']), receivedAtMs: Number(row['received_ms']) };
    },
    remove: (id) => void removeOne.run(id),
    dropOtherUrls(urls) {
      const others = new Set(
        laneRows()
          .map((lane) => lane.url)
          .filter((url) => !urls.includes(url)),
      );
      const drop = db.prepare('DELETE FROM deliveries WHERE url = ?');
      return [...others].reduce((count, url) => count + Number(drop.run(url).changes), 0);
    },
    forgetSeen: (beforeMs) => void forget.run(beforeMs),
    close: () => db.close(),
  };
}
