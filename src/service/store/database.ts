import type { Work } from './work.ts';

/** At once where the database answers at once. */
export type Awaitable<T> = T | Promise<T>;

/** One of the two databases: `sqlite.ts` or `postgres.ts`. */
export interface Database {
  /** True where other processes may use it at the same time. */
  readonly isShared: boolean;
  /** True where the index of a room's events is brought up to date by `indexEvents`; else the database does that itself. */
  readonly indexesLate: boolean;
  /** Runs what changes nothing. */
  read<T>(work: () => Work<T>): Awaitable<T>;
  /**
   * Resolves with what `work` gave once that is on the disk; rejects, with nothing changed, where it threw or the database did.
   * @param subject works of one subject, such as a room's id, wait for each other instead of getting in each other's way
   * @throws DatabaseUnavailable also where the connection was lost before the database said whether it has the change
   */
  commit<T>(work: () => Work<T>, subject?: string): Promise<T>;
  /** Commits what waits, and ends. */
  close(): Awaitable<void>;
}

/** The database does not answer, or not now: the same may succeed later. Its message has no address and no name; its cause has. */
export class DatabaseUnavailable extends Error {
  override readonly name = 'DatabaseUnavailable';
}

/** The database was written by a newer program. */
export class SchemaError extends Error {
  override readonly name = 'SchemaError';
  constructor(found: number, known: number) {
    super(`The database has schema ${found}; this program knows up to ${known}`);
  }
}
