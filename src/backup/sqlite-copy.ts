import { backup, DatabaseSync } from 'node:sqlite';
import type { DatabaseCounts } from './format.ts';

/** Pages of a step: the work of some milliseconds. */
const STEP_PAGES = 4_096;

/**
 * Copies a database as of one moment, while others write to it, and counts what it has at that moment. The read transaction that is
 * held open keeps every step at that moment; without it, SQLite would begin anew at each write of another process
 * (sqlite.org/backup.html).
 * @param onProgress is told the percentage of the pages that are copied
 */
export async function copyDatabase(from: string, to: string, onProgress: (percent: number) => void): Promise<DatabaseCounts> {
  using db = new DatabaseSync(from, { readOnly: true });
  db.exec('PRAGMA busy_timeout = 5000; BEGIN');
  const counts = countRows(db);
  await backup(db, to, { rate: STEP_PAGES, progress: ({ totalPages, remainingPages }) => onProgress(Math.floor((1 - remainingPages / totalPages) * 100)) });
  db.exec('COMMIT');
  return counts;
}

/** What SQLite finds wrong with a database file, in a line; null where it is whole. */
export function checkDatabase(path: string): { problem: string | null; counts: DatabaseCounts | null } {
  try {
    using db = new DatabaseSync(path);
    // A copy of a database with a write-ahead log would get one as well, beside it.
    db.exec('PRAGMA journal_mode = DELETE');
    const [row] = db.prepare('PRAGMA integrity_check(1)').all();
    const word = String(row?.['integrity_check']);
    return word === 'ok' ? { problem: null, counts: countRows(db) } : { problem: word.replaceAll(/\s+/g, ' '), counts: null };
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ERR_SQLITE_ERROR')) throw error;
    return { problem: error.message, counts: null };
  }
}

function countRows(db: DatabaseSync): DatabaseCounts {
  const schema = Number(db.prepare('PRAGMA user_version').get()?.['user_version'] ?? 0);
  const tables = db.prepare("SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite_%' ORDER BY name").all();
  const rows = tables.map(({ name }) => {
    const quoted = `"${String(name).replaceAll('"', '""')}"`;
    return [String(name), Number(db.prepare(`SELECT count(*) AS n FROM ${quoted}`).get()?.['n'])] as const;
  });
  return { schema, rows: Object.fromEntries(rows) };
}
