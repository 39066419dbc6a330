import { rm } from 'node:fs/promises';
import { SERVICE_FUNCTIONS, SERVICE_TABLES, VERSION_TABLE } from '../contract/service-database.ts';
import { FleetError } from '../kernel/errors.ts';
import { isDiskFull } from '../kernel/has-code.ts';
import type { DatabaseCounts } from './format.ts';
import { dumpTables } from './postgres-dump.ts';
import { countTables, identifier, lockServices, readFacts } from './postgres-facts.ts';
import type { PostgresFacts } from './postgres-facts.ts';
import { readDump } from './postgres-script.ts';
import { PostgresFailure, openSession } from './postgres-session.ts';
import type { Postgres, PostgresSession } from './postgres-session.ts';

/** A restore of the service's tables that has begun: every service that uses them waits. Unless `put` returns, nothing has changed. */
export interface PostgresExchange {
  /** Services that use the same tables, besides the one that was stopped: their open connections. */
  readonly others: number;
  /** Whether the service's tables are there. */
  readonly hadTables: boolean;
  /** The mark of an earlier restore that stands there; empty: none. */
  readonly mark: string;
  /** Has pg_dump write what stands there now. @throws FleetError RESTORE_DATABASE_FAILED, DISK_FULL */
  save(to: string, onProgress: (percent: number) => void): Promise<void>;
  /** Replaces the tables by those of a dump, counts them, and commits, all in one transaction. @throws FleetError RESTORE_DATABASE_FAILED */
  put(dump: string, options: { id: string; counts: DatabaseCounts; onProgress: (percent: number) => void }): Promise<void>;
  /** Lets go of everything. */
  close(): Promise<void>;
}

/**
 * Begins to replace the service's tables: waits until nobody changes them, and keeps it so.
 * @throws FleetError RESTORE_DATABASE_FAILED; the signal's reason
 */
export async function openPostgresExchange(postgres: Postgres, signal: AbortSignal): Promise<PostgresExchange> {
  const { address } = postgres.access;
  return explain(address, async () => {
    const session = await openSession(postgres, signal);
    try {
      await session.ask('BEGIN');
      await lockServices(session);
      const facts = await readFacts(session);
      const [others = '0'] = await session.ask(
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name = 'livekit-fleet' AND pid <> pg_backend_pid()",
      );
      return {
        others: Number(others),
        hadTables: facts.tables.length > 0,
        mark: await readMark(session),
        save: (to, onProgress) => explain(address, () => dumpTables(postgres, { session, facts, to, signal, onProgress })),
        put: (dump, { id, ...options }) => explain(address, () => replaceTables(postgres, session, { facts, dump, mark: markOf(id), ...options })),
        close: () => session.close(),
      };
    } catch (error) {
      await session.close();
      throw error;
    }
  });
}

/**
 * Puts back what stood before a restore of this id, where that had been committed; may be repeated. A restore whose process was killed
 * may still be at its very last act: its locks are waited for.
 * @param options.former dump of what stood there; null where no tables did
 * @param options.mark of an earlier restore that stood there; empty: none
 * @param options.undone where pg_dump writes what is undone; null: nobody can have changed it
 * @param options.onLost hears DISK_FULL where there was no space for that
 * @returns `other`: another restore has been there since, and nothing was touched
 * @throws FleetError RESTORE_DATABASE_FAILED; the signal's reason
 */
export async function undoPostgres(
  postgres: Postgres,
  options: { id: string; former: string | null; mark: string; undone: string | null; signal: AbortSignal; onLost: (error: FleetError) => void },
): Promise<'undone' | 'untouched' | 'other'> {
  const { id, former, mark, undone, signal, onLost } = options;
  return explain(postgres.access.address, async () => {
    const session = await openSession(postgres, signal);
    try {
      // An older server ends what it is doing for the one that was killed first.
      await session.ask("BEGIN; SET LOCAL lock_timeout = '600s'");
      await lockServices(session);
      const facts = await readFacts(session);
      const found = await readMark(session);
      if (found !== markOf(id)) return found === mark ? 'untouched' : 'other';
      if (undone !== null) {
        // Of an undo that was killed.
        await rm(undone, { force: true });
        await dumpTables(postgres, { session, facts, to: undone, signal, onProgress: unheard }).catch(async (error: unknown) => {
          const full = fullDisk(error, undone);
          if (full === null) throw error;
          await rm(undone, { force: true });
          onLost(full);
        });
      }
      // Should that have been of a restore that another machine is to undo, it finds it so.
      await replaceTables(postgres, session, { facts, dump: former, mark, counts: null, onProgress: unheard });
      return 'undone';
    } finally {
      await session.close();
    }
  });
}

function unheard(): void {
  // Nobody waits for a percentage of it.
}

/** DISK_FULL, where that is what is wrong. */
function fullDisk(error: unknown, path: string): FleetError | null {
  if (error instanceof FleetError && error.code === 'DISK_FULL') return error;
  return isDiskFull(error) ? new FleetError('DISK_FULL', { path }, { cause: error }) : null;
}

async function readMark(session: PostgresSession): Promise<string> {
  return (await session.ask(`SELECT obj_description(to_regclass('${VERSION_TABLE}'), 'pg_class')`))[0] ?? '';
}

/** Whoever asks whether a restore was committed finds it here: it comes and goes with the tables. */
function markOf(id: string): string {
  return `livekit-fleet restore ${id}`;
}

async function replaceTables(
  postgres: Postgres,
  session: PostgresSession,
  options: { facts: PostgresFacts; dump: string | null; mark: string; counts: DatabaseCounts | null; onProgress: (percent: number) => void },
): Promise<void> {
  const { facts, dump, mark, counts, onProgress } = options;
  const place = identifier(facts.schema ?? '');
  const within = (name: string): string => `${place}.${identifier(name)}`;
  // Those of a newer version as well: its program would take what is left for its own.
  await session.ask(`SET LOCAL client_min_messages = warning; DROP TABLE IF EXISTS ${SERVICE_TABLES.map(within).join(', ')}`);
  for (const name of SERVICE_FUNCTIONS) await session.ask(`DROP FUNCTION IF EXISTS ${within(name)}()`);
  const total = Object.values(counts?.rows ?? {}).reduce((sum, rows) => sum + rows, 0);
  let done = 0;
  if (dump !== null)
    for await (const part of readDump(postgres, dump)) {
      await session.feed(part.kind === 'sql' ? part.text : part.head);
      if (part.kind === 'sql') continue;
      for await (const chunk of part.rows()) await session.feed(chunk);
      await session.feed('\\.\n');
      done += counts?.rows[part.table] ?? 0;
      onProgress(Math.min(99, Math.floor((done / Math.max(1, total)) * 100)));
    }
  // The script has left it empty.
  await session.ask(`SET search_path = ${place}`);
  const standing = await readFacts(session);
  const isThere = new Set(standing.tables.map(({ name }) => name));
  const found = await countTables(session, standing);
  for (const [table, rows] of Object.entries(counts?.rows ?? {}))
    if (found.rows[table] !== rows) throw new PostgresFailure(`${table} has ${found.rows[table] ?? 0} rows instead of ${rows}`, false);
  for (const grant of facts.grants) if (isGrantOf(grant, isThere)) await session.ask(grant);
  if (mark !== '' && isThere.has(VERSION_TABLE)) await session.ask(`COMMENT ON TABLE ${within(VERSION_TABLE)} IS '${mark.replaceAll("'", "''")}'`);
  await session.ask('COMMIT');
}

/** Sequences are named after their tables. */
function isGrantOf(grant: string, tables: ReadonlySet<string>): boolean {
  const [, name = ''] = / ON (?:TABLE|SEQUENCE) (?:"(?:[^"]|"")+"|[^".]+)\.(\w+) TO /.exec(grant) ?? [];
  return tables.has(name) || [...tables].some((table) => name.startsWith(`${table}_`) && name.endsWith('_seq'));
}

async function explain<T>(address: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PostgresFailure)) throw error;
    throw new FleetError('RESTORE_DATABASE_FAILED', { address, reason: error.message }, { cause: error });
  }
}
