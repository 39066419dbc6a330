import { closeSync, fdatasync, fdatasyncSync, openSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import type { LogSync } from './log-sync.ts';

/** Copies SQLite's log into its file now and then, so that the log can be begun anew, and waits for the disk beside the event loop. */
export interface Checkpoints {
  /** To be called after each commit, outside of a transaction. */
  committed(): void;
  close(): void;
}

/** A log of 16 MiB: what is written often is copied less often. */
const PAGES = 4_000;
/** Commits between two looks at the log's length. */
const LOOK_EVERY = 16;
/** So few are copied and synced at once: some milliseconds. */
const REST_PAGES = 300;
const MORE_ROUNDS = 2;

/**
 * SQLite's own checkpoint syncs the log, copies it, and syncs the file, while the program stands still: tens of milliseconds. The order is
 * the same here (https://www.sqlite.org/wal.html#ckpt): a reader is held at a moment, which keeps a checkpoint from copying anything newer, and
 * the log from being begun anew (https://www.sqlite.org/walformat.html#checkpointing); the log is synced; the pages up to that moment are
 * copied without a sync; the file is synced; the reader goes. What came meanwhile is little, and is left to SQLite.
 * @param log of this database
 */
export function openCheckpoints(db: DatabaseSync, path: string, log: LogSync): Checkpoints {
  const file = openSync(path, 'r');
  // A program that was killed may have copied without its sync, and another that has the file open may remember that as done.
  fdatasyncSync(file);
  const look = db.prepare('PRAGMA wal_checkpoint(NOOP)');
  const copy = db.prepare('PRAGMA wal_checkpoint(PASSIVE)');
  let holder: DatabaseSync | null = null;
  let commits = 0;
  let isUnderway = false;
  let isClosed = false;
  const waiting = (): number => {
    const { log: all, checkpointed } = look.get() ?? {};
    return Number(all) - Number(checkpointed);
  };
  /** False where the disk is full, or broken: the log stays, and goes on. */
  const tryCopy = (): boolean => {
    try {
      copy.get();
      return true;
    } catch {
      return false;
    }
  };
  /** @param more rounds that may follow while there is much: other readers can hold pages back for long */
  const round = (more: number): void => {
    const reader = (holder ??= new DatabaseSync(path, { readOnly: true }));
    reader.exec('BEGIN; SELECT 1 FROM sqlite_schema LIMIT 1');
    log.sync(() => {
      if (isClosed) return;
      db.exec('PRAGMA synchronous = OFF');
      const isCopied = tryCopy();
      db.exec('PRAGMA synchronous = NORMAL');
      fdatasync(file, (error) => {
        // The pages are nowhere else once the log is begun anew, and a disk says only once that it lost them.
        if (error !== null) throw error;
        if (isClosed) return closeSync(file);
        reader.exec('COMMIT');
        if (isCopied && more > 0 && waiting() > REST_PAGES) return round(more - 1);
        isUnderway = false;
        if (isCopied && waiting() <= REST_PAGES) tryCopy();
      });
    });
  };
  return {
    committed() {
      if (isUnderway || ++commits % LOOK_EVERY !== 0 || waiting() < PAGES) return;
      isUnderway = true;
      round(MORE_ROUNDS);
    },
    close() {
      isClosed = true;
      holder?.close();
      if (!isUnderway) closeSync(file);
    },
  };
}
