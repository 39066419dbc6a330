import { closeSync, fdatasync, fdatasyncSync, openSync } from 'node:fs';

/** Brings what SQLite has written to its log onto the disk, while the program goes on. */
export interface LogSync {
  /** Calls back once all that was committed before is on the disk; a call that comes while the disk is busy shares the next round. */
  sync(done: () => void): void;
  /** Waits for the disk, and calls all back. */
  close(): void;
}

/**
 * SQLite with synchronous=NORMAL syncs its log only before a checkpoint; with FULL it would at each commit, and the program would stand
 * still meanwhile. A commit is durable once the log file is synced after it (https://www.sqlite.org/wal.html#performance_considerations).
 * A disk that fails to sync has lost what it was given, and says so only once: the program ends, and begins again with what is on the disk.
 * @param path of the log, which stands while its database is open
 */
export function openLogSync(path: string): LogSync {
  const file = openSync(path, 'r');
  let waiting: Array<() => void> = [];
  /** Null: the disk is idle. */
  let underway: ReadonlyArray<() => void> | null = null;
  let isClosed = false;
  const round = (): void => {
    underway = waiting.length === 0 ? null : waiting;
    waiting = [];
    if (underway === null) return;
    const taken = underway;
    fdatasync(file, (error) => {
      if (isClosed) return;
      if (error !== null) throw error;
      for (const done of taken) done();
      round();
    });
  };
  return {
    sync(done) {
      waiting.push(done);
      if (underway === null) round();
    },
    close() {
      isClosed = true;
      fdatasyncSync(file);
      for (const done of [...(underway ?? []), ...waiting]) done();
      closeSync(file);
    },
  };
}
