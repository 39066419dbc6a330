import type { DatabaseSync } from 'node:sqlite';
import { inTransaction } from '../../clients/sqlite.ts';
import type { LogSync } from './log-sync.ts';

/** Many callers' changes in one transaction: a disk takes as long for one as for a hundred. */
export interface GroupCommit {
  /** Resolves with what `work` gave once that is on the disk; rejects, with nothing changed, where it threw or the disk did. */
  commit<T>(work: () => T): Promise<T>;
  /** Commits what waits. */
  flush(): void;
}

interface Job {
  run(): void;
  done(): void;
  fail(error: unknown): void;
}

/** All that is asked for in one turn of the event loop is committed at its end; the next turn's goes on while the disk is busy with it. */
export function createGroupCommit(db: DatabaseSync, { log, onCommitted }: { log: LogSync; onCommitted: () => void }): GroupCommit {
  let waiting: Job[] = [];
  const flush = (): void => {
    const jobs = waiting;
    waiting = [];
    if (jobs.length === 0) return;
    try {
      inTransaction(db, () => {
        for (const job of jobs) job.run();
      });
    } catch {
      // One of them fails, or the disk does: each by itself, so that none fails for another.
      const done = jobs.filter((job) => runAlone(db, job));
      log.sync(() => finish(done));
      return;
    }
    log.sync(() => finish(jobs));
    onCommitted();
  };
  return {
    flush,
    commit: <T>(work: () => T) =>
      new Promise<T>((resolve, reject) => {
        let result: { value: T } | null = null;
        if (waiting.length === 0) setImmediate(flush);
        waiting.push({
          run: () => (result = { value: work() }),
          done: () => (result === null ? reject(new Error('was not run')) : resolve(result.value)),
          fail: reject,
        });
      }),
  };
}

function finish(jobs: readonly Job[]): void {
  for (const job of jobs) job.done();
}

/** True where it did not fail. */
function runAlone(db: DatabaseSync, job: Job): boolean {
  try {
    inTransaction(db, () => job.run());
  } catch (error) {
    job.fail(error);
    return false;
  }
  return true;
}
