import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import { askPostgres, emptyDatabase, temporaryDirectory } from '../service/fixtures.ts';

/** Of SQLite's late index and its counters, and where PostgreSQL keeps its version. */
const ONE_SIDED = new Set(['room_events', 'room_events_end', 'schema_version', 'sqlite_sequence']);

it('has the tables, columns and unique keys that SQLite has', async () => {
  const directory = await temporaryDirectory();
  const [path, url] = [join(directory, 'service.db'), await emptyDatabase(directory)];
  for (const database of [path, url]) await (await openStore(database)).close();
  const [sqlite, postgres] = [sqliteSchema(path), await postgresSchema(url)];
  expect(sqlite.length).toBeGreaterThan(20);
  expect(postgres).toEqual(sqlite);
});

function sqliteSchema(path: string): string[] {
  const db = new DatabaseSync(path);
  const columns = db
    .prepare(
      `SELECT t.name AS tbl, c.name AS col, c.type AS type, c."notnull" OR c.pk > 0 AS filled, c.dflt_value AS fallback
       FROM sqlite_schema t, pragma_table_info(t.name) c WHERE t.type = 'table'`,
    )
    .all();
  const keys = db
    .prepare(
      `SELECT t.name AS tbl, i."unique" AS one, (SELECT group_concat(name) FROM pragma_index_info(i.name)) AS cols
       FROM sqlite_schema t, pragma_index_list(t.name) i WHERE t.type = 'table' AND i."unique" = 1`,
    )
    .all();
  db.close();
  return describe(columns, keys, (type) => type);
}

async function postgresSchema(url: string): Promise<string[]> {
  const columns = await askPostgres(
    url,
    `SELECT table_name AS tbl, column_name AS col, data_type AS type, (is_nullable = 'NO')::int AS filled, column_default AS fallback
     FROM information_schema.columns WHERE table_schema = current_schema()`,
  );
  // What SQLite calls its rows by is no index there.
  const keys = await askPostgres(
    url,
    `SELECT c.relname AS tbl, (SELECT string_agg(a.attname, ',' ORDER BY k.n) FROM unnest(i.indkey) WITH ORDINALITY k(att, n)
       JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.att) AS cols
     FROM pg_index i JOIN pg_class c ON c.oid = i.indrelid
     WHERE c.relnamespace = current_schema()::regnamespace AND i.indisunique
       AND NOT (i.indisprimary AND i.indnatts = 1 AND (SELECT atttypid FROM pg_attribute WHERE attrelid = i.indrelid AND attnum = i.indkey[0]) = 'bigint'::regtype)`,
  );
  return describe(columns, keys, (type) => ({ bigint: 'INTEGER', text: 'TEXT' })[type] ?? type);
}

function filled(value: unknown): string {
  return value === 1 ? 'NOT NULL' : 'NULL';
}

function fallback(value: unknown): string {
  if (value === null) return '';
  // Each has its own way to tell the time.
  return ` DEFAULT ${/unixepoch|clock_timestamp/.test(String(value)) ? 'now' : String(value).replace('::text', '')}`;
}

function isCommon({ tbl }: Record<string, unknown>): boolean {
  return !ONE_SIDED.has(String(tbl));
}

function describe(columns: Record<string, unknown>[], keys: Record<string, unknown>[], typeOf: (type: string) => string): string[] {
  return [
    ...columns
      .filter(isCommon)
      .map((row) => `${String(row['tbl'])}.${String(row['col'])} ${typeOf(String(row['type']))} ${filled(row['filled'])}${fallback(row['fallback'])}`),
    ...keys.filter(isCommon).map((row) => `${String(row['tbl'])} UNIQUE (${String(row['cols'])})`),
  ].toSorted();
}
