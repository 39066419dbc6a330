import type { DatabaseSync } from 'node:sqlite';
import type { PastRoomView } from '../../contract/rooms.ts';

/** Finished lives of rooms, the latest first. */
export interface HistoryRows {
  /** @param page.before the key of the last one of the page before; null: from the latest; @param page.room null: of any id */
  list(page: { limit: number; before: number | null; room: string | null }): Array<{ key: number; view: PastRoomView }>;
  /** Removes what ended, and events that came, before `beforeMs` (since 1970): `limit` of each at most. Gives how much that was; 0: nothing is left. */
  forget(beforeMs: number, limit: number): number;
}

export function openHistoryRows(db: DatabaseSync): HistoryRows {
  const columns = 'key, id, name, type, created_at, finished_at, finish_reason';
  const select = db.prepare(`SELECT ${columns} FROM rooms WHERE state = 'finished' AND key < ? ORDER BY key DESC LIMIT ?`);
  const selectOf = db.prepare(`SELECT ${columns} FROM rooms WHERE state = 'finished' AND key < ? AND id = ? ORDER BY key DESC LIMIT ?`);
  const people = db.prepare('SELECT identity, name, joined_at, left_at, reason FROM participants WHERE room_key = ? ORDER BY joined_at, sid');
  // The newest of each stays: SQLite would give its key to the next.
  const selectOld = db.prepare(
    `SELECT key FROM rooms WHERE state = 'finished' AND finished_at < ? AND key < (SELECT max(key) FROM rooms) ORDER BY finished_at LIMIT ?`,
  );
  const removals = ['participants WHERE room_key', 'room_events WHERE room_key', 'idempotency WHERE room_key', 'rooms WHERE key'].map((what) =>
    db.prepare(`DELETE FROM ${what} = ?`),
  );
  const removeEvents = db.prepare(
    'DELETE FROM events WHERE seq IN (SELECT seq FROM events WHERE at < ? AND seq < (SELECT max(seq) FROM events) ORDER BY at LIMIT ?)',
  );
  const viewOf = (row: Record<string, unknown>): PastRoomView => ({
    id: String(row['id']),
    name: String(row['name']),
    type: row['type'] === 'voice' ? 'voice' : 'video',
    createdAt: timeOf(row['created_at']) ?? '',
    finishedAt: timeOf(row['finished_at']) ?? timeOf(row['created_at']) ?? '',
    reason: row['finish_reason'] === null ? null : String(row['finish_reason']),
    participants: people.all(Number(row['key'])).map(personOf),
  });
  return {
    list({ limit, before, room }) {
      const last = before ?? Number.MAX_SAFE_INTEGER;
      const rows = room === null ? select.all(last, limit) : selectOf.all(last, room, limit);
      return rows.map((row) => ({ key: Number(row['key']), view: viewOf(row) }));
    },
    forget(beforeMs, limit) {
      const keys = selectOld.all(beforeMs, limit).map((row) => Number(row['key']));
      for (const key of keys) for (const removal of removals) removal.run(key);
      return keys.length + Number(removeEvents.run(Math.floor(beforeMs / 1000), limit).changes);
    },
  };
}

function personOf(row: Record<string, unknown>): PastRoomView['participants'][number] {
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
