import { chmodSync, closeSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { StatementSync } from 'node:sqlite';
import type { Database } from './database.ts';
import { openCheckpoints } from './checkpoints.ts';
import { createGroupCommit } from './group-commit.ts';
import { openLogSync } from './log-sync.ts';
import { migrate } from './sqlite-migrations.ts';
import type { Result, Row, Work } from './work.ts';

/** SQLite's own checkpoint, which the program waits for: where ours did not come to it. 160 MiB of log. */
const CHECKPOINT_PAGES = 40_000;
const NOTHING: readonly Row[] = [];

interface Prepared {
  readonly statement: StatementSync;
  readonly givesRows: boolean;
}

/** Opens (and migrates) the database file; what is committed is in its log (WAL), and on the disk, so that it survives a power cut. */
export function openSqlite(path: string): Database {
  // It holds secrets; what SQLite makes beside it gets the same mode.
  closeSync(openSync(path, 'a', 0o600));
  chmodSync(path, 0o600);
  const db = new DatabaseSync(path);
  db.exec('PRAGMA journal_mode = WAL; PRAGMA synchronous = NORMAL; PRAGMA busy_timeout = 5000;');
  db.exec(`PRAGMA wal_autocheckpoint = ${CHECKPOINT_PAGES}`);
  migrate(db);
  const prepared = new Map<string, Prepared>();
  const prepare = (sql: string): Prepared => {
    const statement = db.prepare(sql);
    const one = { statement, givesRows: statement.columns().length > 0 };
    prepared.set(sql, one);
    return one;
  };
  const run = <T>(work: () => Work<T>): T => {
    const running = work();
    let step = running.next();
    while (step.done !== true) {
      const { sql, values } = step.value;
      step = running.next(answer(prepared.get(sql) ?? prepare(sql), values));
    }
    return step.value;
  };
  const log = openLogSync(`${path}-wal`);
  const checkpoints = openCheckpoints(db, path, log);
  const group = createGroupCommit(db, { log, onCommitted: checkpoints.committed });
  return {
    isShared: false,
    indexesLate: true,
    read: run,
    commit: (work) => group.commit(() => run(work)),
    close() {
      group.flush();
      log.close();
      checkpoints.close();
      db.close();
    },
  };
}

function answer({ statement, givesRows }: Prepared, values: readonly (string | number | null)[]): Result {
  if (!givesRows) return { rows: NOTHING, count: Number(statement.run(...values).changes) };
  const rows = statement.all(...values);
  return { rows, count: rows.length };
}
