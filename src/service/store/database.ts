import type { Work } from './work.ts';

/** At once where the database answers at once. */
export type Awaitable<T> = T | Promise<T>;

/** One of the two databases: `sqlite.ts`, or PostgreSQL. */
export interface Database {
  /** True where other processes may use it at the same time. */
  readonly isShared?: boolean;
  /** Runs what changes nothing. */
  read<T>(work: () => Work<T>): Awaitable<T>;
  /** Resolves with what `work` gave once that is on the disk; rejects, with nothing changed, where it threw or the database did. */
  commit<T>(work: () => Work<T>): Promise<T>;
  /** Commits what waits, and ends. */
  close(): Awaitable<void>;
}
