/** A row by the names of its columns. */
export type Row = Record<string, unknown>;
export type Value = string | number | null;

/** SQL that both databases take; `?` stands for the values in their order, or `?1` for the first. */
export interface Statement {
  readonly sql: string;
  readonly values: readonly Value[];
}

/** What a statement gave; `count`: how many rows it changed. */
export interface Result {
  readonly rows: readonly Row[];
  readonly count: number;
}

/**
 * What is read or changed together, written once for every database: it asks by `yield`, and whoever runs it answers, at once (SQLite) or
 * later (PostgreSQL). It has no effect of its own, since it is run again from its beginning where a transaction has to be.
 */
export type Work<T> = Generator<Statement, T, Result>;

/** The rows that a statement gives. */
export function* all(sql: string, ...values: Value[]): Work<readonly Row[]> {
  return (yield { sql, values }).rows;
}

/** The first row that a statement gives. */
export function* first(sql: string, ...values: Value[]): Work<Row | undefined> {
  return (yield { sql, values }).rows[0];
}

/** The number of rows that a statement changes. */
export function* change(sql: string, ...values: Value[]): Work<number> {
  return (yield { sql, values }).count;
}
