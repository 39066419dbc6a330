import type { PastRoomView } from '../../contract/rooms.ts';
import { all, change } from './work.ts';
import type { Row, Work } from './work.ts';

const COLUMNS = 'key, id, name, type, created_at, finished_at, finish_reason';

/**
 * Finished lives of rooms, the latest first.
 * @param page.before the key of the last one of the page before; null: from the latest; @param page.room null: of any id
 */
export function* listHistory({ limit, before, room }: HistoryPage): Work<Array<{ key: number; view: PastRoomView }>> {
  const last = before ?? Number.MAX_SAFE_INTEGER;
  const rows = yield* room === null
    ? all(`SELECT ${COLUMNS} FROM rooms WHERE state = 'finished' AND key < ? ORDER BY key DESC LIMIT ?`, last, limit)
    : all(`SELECT ${COLUMNS} FROM rooms WHERE state = 'finished' AND key < ? AND id = ? ORDER BY key DESC LIMIT ?`, last, room, limit);
  const found = [];
  for (const row of rows) found.push({ key: Number(row['key']), view: yield* viewOf(row) });
  return found;
}

export interface HistoryPage {
  readonly limit: number;
  readonly before: number | null;
  readonly room: string | null;
}

function* viewOf(row: Row): Work<PastRoomView> {
  const people = yield* all(
    'SELECT identity, name, joined_at, left_at, reason FROM participants WHERE room_key = ? ORDER BY joined_at, sid',
    Number(row['key']),
  );
  return {
    id: String(row['id']),
    name: String(row['name']),
    type: row['type'] === 'voice' ? 'voice' : 'video',
    createdAt: timeOf(row['created_at']) ?? '',
    finishedAt: timeOf(row['finished_at']) ?? timeOf(row['created_at']) ?? '',
    reason: row['finish_reason'] === null ? null : String(row['finish_reason']),
    participants: people.map(personOf),
  };
}

/** Removes what ended, and events that came, before `beforeMs` (since 1970): `limit` of each at most. Gives how much that was; 0: nothing is left. @param isIndexedLate see Database */
export function* forgetHistory(beforeMs: number, limit: number, isIndexedLate: boolean): Work<number> {
  // The newest of each stays: SQLite would give its key to the next.
  const old = yield* all(
    `SELECT key FROM rooms WHERE state = 'finished' AND finished_at < ? AND key < (SELECT max(key) FROM rooms) ORDER BY finished_at LIMIT ?`,
    beforeMs,
    limit,
  );
  const removals = isIndexedLate ? ['DELETE FROM room_events WHERE room_key = ?', ...REMOVALS] : REMOVALS;
  for (const { key } of old) for (const removal of removals) yield* change(removal, Number(key));
  const events = yield* change(
    'DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ? AND seq < (SELECT max(seq) FROM events) ORDER BY at LIMIT ?)',
    Math.floor(beforeMs / 1000),
    limit,
  );
  return old.length + events;
}

const REMOVALS = ['participants WHERE room_key', 'idempotency WHERE room_key', 'call_parties WHERE room_key', 'calls WHERE room_key', 'rooms WHERE key'].map(
  (what) => `DELETE FROM ${what} = ?`,
);

function personOf(row: Row): PastRoomView['participants'][number] {
  const [joined, left] = [row['joined_at'], row['left_at']];
  return {
    identity: String(row['identity']),
    name: String(row['name']),
    joinedAt: timeOf(joined),
    leftAt: timeOf(left),
    seconds: joined === null || left === null ? null : Math.max(0, Math.round((Number(left) - Number(joined)) / 1000)),
    reason: row['reason'] === null ? null : String(row['reason']),
  };
}

function timeOf(ms: unknown): string | null {
  return ms === null ? null : new Date(Number(ms)).toISOString();
}
