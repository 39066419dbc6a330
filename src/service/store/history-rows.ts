import type { DatabaseSync } from 'node:sqlite';
import type { PastRoomView } from '../../contract/rooms.ts';

/** Finished lives of rooms, the latest first. */
export interface HistoryRows {
  /** @param page.before the key of the last one of the page before; null: from the latest; @param page.room null: of any id */
  list(page: { limit: number; before: number | null; room: string | null }): Array<{ key: number; view: PastRoomView }>;
}

export function openHistoryRows(db: DatabaseSync): HistoryRows {
  const columns = 'key, id, name, type, created_at, finished_at, finish_reason';
  const select = db.prepare(`SELECT ${columns} FROM rooms WHERE state = 'finished' AND key < ? ORDER BY key DESC LIMIT ?`);
  const selectOf = db.prepare(`SELECT ${columns} FROM rooms WHERE state = 'finished' AND key < ? AND id = ? ORDER BY key DESC LIMIT ?`);
  const people = db.prepare('SELECT identity, name, joined_at, left_at, reason FROM participants WHERE room_key = ? ORDER BY joined_at, sid');
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
