import { dirname } from 'node:path';
import { POSTGRES, SERVICE } from '../backup/format.ts';
import { openPostgresExchange, undoPostgres } from '../backup/postgres-exchange.ts';
import type { PostgresExchange } from '../backup/postgres-exchange.ts';
import { reachPostgres } from '../backup/postgres-facts.ts';
import type { PostgresFacts } from '../backup/postgres-facts.ts';
import type { Postgres } from '../backup/postgres-session.ts';
import { placeIn } from '../backup/prove.ts';
import type { Proved } from '../backup/prove.ts';
import { UNDONE, asideFolder } from '../backup/swap.ts';
import type { SwapDatabase } from '../backup/swap.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { Layout, Topology } from '../topology/topology.ts';
import { progressOf, scratchUser } from './backup.ts';
import type { CliContext } from './context.ts';

/** The service's tables in PostgreSQL, when an archive that has them is restored. */
export interface DatabaseTarget {
  readonly postgres: Postgres;
  readonly url: string;
  /** Whether they are replaced: on a machine that is new, those that are there may be newer than the archive. */
  readonly isReplaced: boolean;
}

/**
 * Checks whether the service's data of an archive can come back where the settings keep them, before anything is touched.
 * @param machine as it is to be
 * @returns null where PostgreSQL has nothing to do with it
 * @throws FleetError RESTORE_OTHER_DATABASE, RESTORE_DATABASE_SCHEMA, RESTORE_DATABASE_RIGHTS, RESTORE_DATABASE_USED, those of reachPostgres
 */
export async function checkDatabaseTarget(
  context: CliContext,
  { manifest, schemas }: Proved,
  { path, settings, topology, isBare }: { path: string; settings: Settings; topology: Topology; isBare: boolean },
): Promise<DatabaseTarget | null> {
  if (!topology.parts.includes('service')) return null;
  const has = (name: string): boolean => manifest.members.some((one) => one.name === name);
  const { DATABASE_URL: url } = settings;
  if (has(POSTGRES) && url === '') throw new FleetError('RESTORE_OTHER_DATABASE', { path, was: 'PostgreSQL', now: 'SQLite' }, { exitCode: 2 });
  if (has(SERVICE) && url !== '') throw new FleetError('RESTORE_OTHER_DATABASE', { path, was: 'SQLite', now: 'PostgreSQL' }, { exitCode: 2 });
  if (!has(POSTGRES)) return null;
  const { postgres, facts } = await reachPostgres(url, { user: await scratchUser(context, settings), signal: context.signal });
  if (isBare && facts.tables.length > 0) return { postgres, url, isReplaced: false };
  checkRights(postgres, facts);
  if (facts.users.length > 0)
    throw new FleetError('RESTORE_DATABASE_USED', { address: postgres.access.address, objects: facts.users.join(', ') }, { exitCode: 2 });
  const was = schemas.find((one) => one !== facts.schema);
  if (was !== undefined) throw new FleetError('RESTORE_DATABASE_SCHEMA', { path, was, now: facts.schema ?? '' }, { exitCode: 2 });
  return { postgres, url, isReplaced: true };
}

function checkRights({ access }: Postgres, { schema, mayCreate, tables }: PostgresFacts): void {
  const refuse = (reason: string): never => {
    throw new FleetError('RESTORE_DATABASE_RIGHTS', { address: access.address, reason }, { exitCode: 2 });
  };
  if (schema === null) refuse('its search path leads to no schema');
  if (mayCreate !== true) refuse(`no CREATE on schema ${schema ?? ''}`);
  const foreign = tables.find(({ isOwned }) => !isOwned);
  if (foreign !== undefined) refuse(`not the owner of table ${foreign.name}`);
}

/** A restore of the service's tables, under way. */
export interface DatabaseRestore {
  /** What undoes it, for whoever comes after a kill. */
  readonly plan: SwapDatabase;
  /** @throws FleetError RESTORE_DATABASE_FAILED, after which the tables are as they were */
  put(): Promise<void>;
  close(): Promise<void>;
}

/**
 * Has all services wait, and keeps a dump of what stands there with what else is set aside. Nothing is changed before `put`.
 * @throws FleetError RESTORE_DATABASE_FAILED, DISK_FULL
 */
export async function beginDatabaseRestore(
  context: CliContext,
  { folder, manifest }: Proved,
  { target: { postgres, url }, topology, id }: { target: DatabaseTarget; topology: Topology; id: string },
): Promise<DatabaseRestore> {
  const onProgress = (percent: number): void => progressOf(context, 'restore')(`PostgreSQL ${percent} %`);
  const exchange: PostgresExchange = await openPostgresExchange(postgres, context.signal);
  try {
    if (exchange.others > 0) context.reporter.say('RESTORE_DATABASE_SHARED', { count: exchange.others });
    const former = exchange.hadTables ? `${asideFolder(topology.layout)}/${POSTGRES}` : null;
    if (former !== null) {
      await context.host.makeFolder(asideFolder(topology.layout), { mode: 0o700, uid: 0, gid: 0 });
      await exchange.save(former, onProgress);
    }
    const counts = manifest.counts.databases[POSTGRES];
    return {
      plan: { url, id, former, mark: exchange.mark },
      put: async () => exchange.put(placeIn(folder, POSTGRES), { id, counts: counts ?? { schema: 0, rows: {} }, onProgress }),
      close: () => exchange.close(),
    };
  } catch (error) {
    await exchange.close();
    throw error;
  }
}

/** Reaches the database of a restore that is undone. @throws FleetError those of reachPostgres */
export async function reachDatabase(context: CliContext, settings: Settings, { url }: SwapDatabase): Promise<Postgres> {
  // Whoever interrupts a restore has it undone.
  const { signal } = new AbortController();
  return (await reachPostgres(url, { user: await scratchUser(context, settings), signal })).postgres;
}

/**
 * Puts back the tables that stood before a restore, where they had been replaced; a dump of what is undone stays with what else is.
 * @param given.onLost hears DISK_FULL where there was no space for that
 * @returns `other`: another machine has restored them since, and they stay as they are
 * @throws FleetError RESTORE_DATABASE_FAILED
 */
export async function undoDatabaseRestore(
  context: CliContext,
  layout: Layout,
  given: { postgres: Postgres; database: SwapDatabase; isKept: boolean; onLost: (error: FleetError) => void },
): ReturnType<typeof undoPostgres> {
  const { signal } = new AbortController();
  await context.host.makeFolder(asideFolder(layout), { mode: 0o700, uid: 0, gid: 0 });
  const undone = given.isKept ? `${asideFolder(layout)}/${POSTGRES}${UNDONE}` : null;
  return undoPostgres(given.postgres, { ...given.database, undone, signal, onLost: given.onLost });
}

/** Sets the dump of what stood there aside with what is kept: nothing else has it. Gives its name; null where nothing stood there. */
export async function keepFormer({ host }: CliContext, { former }: SwapDatabase): Promise<string | null> {
  if (former === null) return null;
  const name = `${POSTGRES}.former${UNDONE}`;
  await host.move(former, `${dirname(former)}/${name}`);
  return name;
}
