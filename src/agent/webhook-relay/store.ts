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
  /**
   * Commits the event, one row per URL, before it returns; false for an event that was accepted before. Beyond the store's bound the
   * oldest deliveries make room. @param urls null while they are not known
   */
  accept(event: StoredEvent, urls: readonly string[] | null): boolean;
  /** The lanes that hold something and have a receiver. */
  lanes(): Lane[];
  /** The oldest delivery of a lane, null where it is empty. */
  head(lane: Lane): Delivery | null;
  remove(id: number): void;
  /** How many deliveries to known receivers there are, a thousand at most. */
  count(): number;
  /** The oldest delivery after this one whose body contains the word, null where there is none. */
  mentioning(word: string, afterId: number): Delivery | null;
  /** Removes a delivery, and forgets that its event ever came. */
  drop(id: number, eventId: string): void;
  /**
   * Makes `urls` the receivers. Events that came before any was known go to all of them, what others have not received yet
   * goes to those that are new. Gives the number of deliveries that nobody is left to receive.
   */
  redirect(urls: readonly string[]): number;
  /** Drops events that came before `beforeMs` and never had a receiver; gives their number. */
  dropUndirected(beforeMs: number): number;
  /** Deliveries that had to make room since this was last asked. */
  takeCrowdedOut(): number;
  /** Forgets event ids that were received before `beforeMs`. */
  forgetSeen(beforeMs: number): void;
  close(): void;
}

const SCHEMA = `
  PRAGMA journal_mode = WAL;
  PRAGMA synchronous = FULL;
  PRAGMA busy_timeout = 2000;
  BEGIN IMMEDIATE;
  CREATE TABLE IF NOT EXISTS seen (event_id TEXT PRIMARY KEY, received_ms INTEGER NOT NULL) WITHOUT ROWID;
  CREATE INDEX IF NOT EXISTS seen_by_time ON seen (received_ms);
  CREATE TABLE IF NOT EXISTS deliveries (
    id INTEGER PRIMARY KEY AUTOINCREMENT, url TEXT NOT NULL, room TEXT NOT NULL,
    body BLOB NOT NULL, authorization TEXT NOT NULL, received_ms INTEGER NOT NULL
  );
  CREATE INDEX IF NOT EXISTS deliveries_by_lane ON deliveries (url, room, id);
  CREATE TABLE IF NOT EXISTS targets (url TEXT PRIMARY KEY) WITHOUT ROWID;
  COMMIT;
`;

/** Some 350,000 deliveries of LiveKit’s size: days of a busy machine. */
const MAX_BYTES = 512 * 1024 * 1024;
/** So many make room at a time. */
const CROWD = 1_000;

/** Stands for the receivers that are not known yet. */
const UNDIRECTED = '';

/** Opens or creates the database at `path`, which holds `maxBytes` at most. Throws SQLite's error where that cannot be done. */
export function openWebhookStore(path: string, { maxBytes = MAX_BYTES } = {}): WebhookStore {
  const db = new DatabaseSync(path);
  db.exec(SCHEMA);
  const see = db.prepare('INSERT OR IGNORE INTO seen (event_id, received_ms) VALUES (?, ?)');
  const add = db.prepare('INSERT INTO deliveries (url, room, body, authorization, received_ms) VALUES (?, ?, ?, ?, ?)');
  const first = db.prepare('SELECT id, body, authorization, received_ms FROM deliveries WHERE url = ? AND room = ? ORDER BY id LIMIT 1');
  const next = db.prepare('SELECT id, body, authorization, received_ms FROM deliveries WHERE id > ? AND instr(body, ?) > 0 ORDER BY id LIMIT 1');
  const counting = db.prepare('SELECT count(*) AS count FROM (SELECT 1 FROM deliveries WHERE url <> ? LIMIT 1000)');
  const unsee = db.prepare('DELETE FROM seen WHERE event_id = ?');
  const removeOne = db.prepare('DELETE FROM deliveries WHERE id = ?');
  const dropOld = db.prepare('DELETE FROM deliveries WHERE url = ? AND received_ms < ?');
  const forget = db.prepare('DELETE FROM seen WHERE received_ms < ?');

  const usage = db.prepare('SELECT (page_count - freelist_count) * page_size AS bytes FROM pragma_page_count, pragma_freelist_count, pragma_page_size');
  const crowdOut = db.prepare('DELETE FROM deliveries WHERE id IN (SELECT id FROM deliveries ORDER BY id LIMIT ?)');
  let crowdedOut = 0;

  const accept = (event: StoredEvent, urls: readonly string[] | null): boolean => {
    if (see.run(event.eventId, event.receivedAtMs).changes === 0) return false;
    if (Number(usage.get()?.['bytes']) > maxBytes) crowdedOut += Number(crowdOut.run(CROWD).changes);
    for (const url of urls ?? [UNDIRECTED]) add.run(url, event.room, event.body, event.authorization, event.receivedAtMs);
    return true;
  };
  const column = (sql: string): string[] =>
    db
      .prepare(sql)
      .all()
      .map((row) => String(row['url']));
  const redirect = (urls: readonly string[]): number => {
    const former = new Set(column('SELECT url FROM targets'));
    const gone = column('SELECT DISTINCT url FROM deliveries').filter((url) => url !== UNDIRECTED && !urls.includes(url));
    const added = urls.filter((url) => !former.has(url));
    // Once each, though several receivers may have waited for it.
    const copy = db.prepare(`
      INSERT INTO deliveries (url, room, body, authorization, received_ms)
      SELECT ?, room, body, authorization, received_ms FROM deliveries
      WHERE id IN (SELECT min(id) FROM deliveries WHERE url IN (SELECT value FROM json_each(?)) GROUP BY body) ORDER BY id`);
    for (const url of urls) copy.run(url, JSON.stringify([UNDIRECTED, ...(added.includes(url) ? gone : [])]));
    const drop = db.prepare('DELETE FROM deliveries WHERE url = ?');
    const removed = (url: string): number => Number(drop.run(url).changes);
    const undirected = removed(UNDIRECTED);
    const others = gone.reduce((count, url) => count + removed(url), 0);
    db.exec('DELETE FROM targets');
    const note = db.prepare('INSERT OR IGNORE INTO targets (url) VALUES (?)');
    for (const url of urls) note.run(url);
    return (urls.length === 0 ? undirected : 0) + (added.length === 0 ? others : 0);
  };

  return {
    accept: (event, urls) => inTransaction(db, () => accept(event, urls)),
    lanes: () =>
      db
        .prepare('SELECT DISTINCT url, room FROM deliveries WHERE url <> ?')
        .all(UNDIRECTED)
        .map((row) => ({ url: String(row['url']), room: String(row['room']) })),
    head: (lane) => deliveryOf(first.get(lane.url, lane.room)),
    remove: (id) => void removeOne.run(id),
    count: () => Number(counting.get(UNDIRECTED)?.['count']),
    mentioning: (word, afterId) => deliveryOf(next.get(afterId, Buffer.from(word))),
    drop: (id, eventId) =>
      inTransaction(db, () => {
        removeOne.run(id);
        unsee.run(eventId);
      }),
    redirect: (urls) => inTransaction(db, () => redirect(urls)),
    dropUndirected: (beforeMs) => Number(dropOld.run(UNDIRECTED, beforeMs).changes),
    takeCrowdedOut() {
      const count = crowdedOut;
      crowdedOut = 0;
      return count;
    },
    forgetSeen: (beforeMs) => void forget.run(beforeMs),
    close: () => db.close(),
  };
}

function deliveryOf(row: Record<string, unknown> | undefined): Delivery | null {
  if (row === undefined || !(row['body'] instanceof Uint8Array)) return null;
  return { id: Number(row['id']), body: row['body'], authorization: String(row['authorization']), receivedAtMs: Number(row['received_ms']) };
}
