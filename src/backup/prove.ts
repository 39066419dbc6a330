import { closeSync, fdatasync, openSync, statfsSync } from 'node:fs';
import { chown } from 'node:fs/promises';
import { FleetError } from '../kernel/errors.ts';
import { isDiskFull } from '../kernel/has-code.ts';
import { POSTGRES, REDIS, RELAY, SERVICE } from './format.ts';
import type { DatabaseCounts, Head, Manifest } from './format.ts';
import { explainDamage, openArchive } from './open-archive.ts';
import { countDump } from './postgres-script.ts';
import { PostgresFailure } from './postgres-session.ts';
import { requireTools } from './postgres-tools.ts';
import { NotLoaded, startScratchRedis } from './scratch-redis.ts';
import type { ScratchRedis } from './scratch-redis.ts';
import { checkDatabase } from './sqlite-copy.ts';
import { damaged, unpack } from './unpack.ts';
import type { ArchiveContents } from './unpack.ts';

/** An archive that is unpacked, whole, and that Redis, SQLite and pg_restore have read and counted. Its Redis still runs. */
export interface Proved extends ArchiveContents {
  readonly folder: string;
  /** Null where the archive has no Redis. */
  readonly redis: ScratchRedis | null;
  /** In which schemas PostgreSQL's tables are. */
  readonly schemas: readonly string[];
}

export interface ProveOptions {
  /** Where the archive came from, for what is said about it. */
  readonly source: string;
  readonly bytes: AsyncIterable<Buffer>;
  readonly askPassphrase: () => Promise<string>;
  /** An empty folder with space for what is inside. */
  readonly folder: string;
  /** The program that loads Redis's data, asked for where the archive has them. */
  readonly redisServer: () => Promise<string>;
  /** Who loads them. */
  readonly user: { uid: number; gid: number };
  /** What is unpacked is to be used: it goes to the disk itself while the rest is still being unpacked and loaded. */
  readonly isKept: boolean;
  readonly onHead: (head: Head) => void | Promise<void>;
  readonly onProgress: (detail: string) => void;
  readonly signal: AbortSignal;
}

/** What stays free beside what is unpacked: the parts that serve write to the same disk. Bytes, and the part of the disk that counts where it is less. */
const RESERVE = 256 * 1024 * 1024;
const RESERVE_PART = 0.05;
/** The disk is asked after so many bytes. */
const LOOK_BYTES = 1024 * 1024;

/** How many bytes may still be unpacked into a folder's disk. */
export function roomIn(folder: string): number {
  const { blocks, bavail, bsize } = statfsSync(folder);
  return Math.max(0, bavail * bsize - Math.min(RESERVE, blocks * bsize * RESERVE_PART));
}

/** Turns what says that a disk is full into DISK_FULL: an error of the system's, or a Redis that cannot write there any more (MISCONF). */
export async function explainFullDisk<T>(folder: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const isMisconf = error instanceof Error && error.name === 'ReplyError' && error.message.startsWith('MISCONF');
    throw isDiskFull(error) || isMisconf ? new FleetError('DISK_FULL', { path: folder }, { cause: error }) : error;
  }
}

/** Where Redis looks for what it is to load. */
export function redisPlace(folder: string): string {
  return `${folder}/redis`;
}

/** Where a member stands in the folder of an archive that was proved. */
export function placeIn(folder: string, name: string): string {
  return name === REDIS ? `${redisPlace(folder)}/appendonly.aof` : `${folder}/${name}`;
}

/**
 * Unpacks an archive into a scratch folder, holds every member against its checksum, loads Redis's data into a Redis of its own and the
 * databases into SQLite, has pg_restore read all of PostgreSQL's dump, and counts. Redis begins to load while the rest is still being
 * unpacked.
 * @throws FleetError BACKUP_DAMAGED with the reason; those of openArchive, unpack and requireTools
 */
export async function prove(options: ProveOptions): Promise<Proved> {
  const { source, folder, onProgress, signal } = options;
  let scratch: Promise<ScratchRedis> | null = null;
  let done = 0;
  let total = 0;
  let look = 0;
  const flushed: Promise<void>[] = [];
  const tar = openArchive(source, options.bytes, options.askPassphrase);
  try {
    const contents = await explainDamage(source, () =>
      unpack(tar, {
        source,
        placeOf: (name) => placeIn(folder, name),
        onHead: async (head) => {
          total = head.bytes;
          await options.onHead(head);
        },
        onMember: (name) => {
          if (options.isKept) flushed.push(flush(placeIn(folder, name)));
          flushed.at(-1)?.catch(() => undefined);
          if (name === REDIS) scratch = load(options);
          // Looked at below; until then a failure is nobody's.
          scratch?.catch(() => undefined);
        },
        onBytes: (bytes) => {
          signal.throwIfAborted();
          done += bytes;
          // What an archive says of its size may be wrong.
          if (done >= look && roomIn(folder) === 0) throw new FleetError('DISK_FULL', { path: folder });
          if (done >= look) look = done + LOOK_BYTES;
          if (total > 0) onProgress(`${Math.min(100, Math.floor((done / total) * 100))} %`);
        },
      }),
    );
    const schemas = await checkDatabases(contents.manifest, options);
    const redis = scratch === null ? null : await (scratch as Promise<ScratchRedis>);
    if (redis !== null) checkKeys(source, redis, contents.manifest);
    await Promise.all(flushed);
    return { ...contents, folder, redis, schemas };
  } catch (error) {
    await (scratch as Promise<ScratchRedis> | null)?.then((one) => one[Symbol.asyncDispose]()).catch(() => undefined);
    throw error instanceof NotLoaded ? fault(options, `${REDIS}: ${error.message}`, error) : error;
  }
}

/** Whose name may change meanwhile. */
function flush(path: string): Promise<void> {
  const file = openSync(path, 'r');
  return new Promise<void>((resolve, reject) => fdatasync(file, (error) => (error === null ? resolve() : reject(error)))).finally(() => closeSync(file));
}

/** Whoever loads data writes as well: where no space is left, that is what is wrong, and not the archive. */
function fault({ source, folder }: ProveOptions, reason: string, cause?: unknown): FleetError {
  return roomIn(folder) === 0 ? new FleetError('DISK_FULL', { path: folder }, { cause }) : damaged(source, reason, cause);
}

async function load({ folder, redisServer, user, signal, onProgress }: ProveOptions): Promise<ScratchRedis> {
  const place = redisPlace(folder);
  // The folder last: from then on its user may put a link in the file's place.
  for (const path of [placeIn(folder, REDIS), place]) await chown(path, user.uid, user.gid);
  return startScratchRedis({ program: await redisServer(), folder: place, user, signal, onProgress: (percent) => onProgress(`Redis ${percent} %`) });
}

/** Holds each database against what was counted of it; gives the schemas of PostgreSQL's. */
async function checkDatabases({ members, counts }: Manifest, options: ProveOptions): Promise<string[]> {
  const { source, folder } = options;
  let schemas: string[] = [];
  for (const name of [SERVICE, RELAY, POSTGRES] as const) {
    const wanted = counts.databases[name];
    const isThere = members.some((one) => one.name === name);
    if (isThere !== (wanted !== undefined)) throw damaged(source, `${name}: ${isThere ? 'not counted' : 'missing'}`);
    if (wanted === undefined) continue;
    if (name !== POSTGRES) {
      const { problem, counts: found } = checkDatabase(placeIn(folder, name));
      if (found === null) throw fault(options, `${name}: ${problem ?? ''}`);
      checkRows(source, name, { wanted, found: found.rows });
    } else {
      const found = await countOf(wanted, options);
      checkRows(source, name, { wanted, found: found.rows });
      schemas = found.schemas;
    }
  }
  return schemas;
}

async function countOf({ madeWith }: DatabaseCounts, { source, folder, user }: ProveOptions): Promise<Awaited<ReturnType<typeof countDump>>> {
  const tools = await requireTools(async () => madeWith ?? null);
  try {
    return await countDump({ tools, user }, placeIn(folder, POSTGRES));
  } catch (error) {
    throw error instanceof PostgresFailure ? damaged(source, `${POSTGRES}: ${error.message}`, error) : error;
  }
}

function checkRows(source: string, name: string, { wanted, found }: { wanted: DatabaseCounts; found: Readonly<Record<string, number>> }): void {
  for (const [table, rows] of Object.entries(wanted.rows))
    if (found[table] !== rows) throw damaged(source, `${name}: ${table} has ${found[table] ?? 0} rows instead of ${rows}`);
}

/** Those that have expired since are gone from the first database, or not yet. */
function checkKeys(source: string, { loaded }: ScratchRedis, { counts: { redis } }: Manifest): void {
  if (redis === null) return;
  const { keys, expires } = redis;
  const isShort = loaded.all === null ? loaded.first < keys - expires : loaded.all < keys;
  if (isShort || loaded.first > keys) throw damaged(source, `${REDIS}: ${loaded.first} keys instead of ${keys}`);
}
