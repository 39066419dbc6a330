import { lstat, mkdir, readdir, rm, stat } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { FLEET_MEMORY } from '../contract/fleet-memory.ts';
import { FleetError } from '../kernel/errors.ts';
import { hasCode } from '../kernel/has-code.ts';
import { redisFolder } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import type { Layout, Topology } from '../topology/topology.ts';
import { readBelow } from './foreign-hands.ts';
import { ENV, POSTGRES, REDIS, RELAY, SERVICE, isMember } from './format.ts';
import type { Manifest } from './format.ts';
import { dumpDatabase } from './postgres-dump.ts';
import type { Postgres } from './postgres-session.ts';
import { RDB_HEAD_BYTES, countRdbKeys } from './rdb.ts';
import { takeSnapshot } from './redis-snapshot.ts';
import type { Snapshot } from './redis-snapshot.ts';
import { copyDatabase } from './sqlite-copy.ts';
import type { Member } from './write-archive.ts';

const CHUNK_BYTES = 1 << 20;
/** What Caddy cannot make anew, or an authority would have to: below its folder. */
const CADDY_KEPT = ['pki', 'acme', 'certificates', 'ocsp'];
/** No file of Caddy's or of ours is as large. */
const LARGEST_SMALL = 16 * 1024 * 1024;

/** What is taken of this machine. */
export interface Source {
  readonly settings: Settings;
  readonly topology: Topology;
  /** Where the service keeps its data, where that is PostgreSQL and they are there. */
  readonly postgres: Postgres | null;
  /** Text of the settings in force. */
  readonly env: string;
  readonly signal: AbortSignal;
  readonly onProgress: (detail: string) => void;
}

/** What a backup is going to hold. */
export interface Collected {
  readonly members: AsyncIterable<Member>;
  /** Of all members that have been asked for. */
  counts(): Manifest['counts'];
  /** Lets go of what was taken. */
  close(): Promise<void>;
}

/** The databases of this machine's parts, by member, those that are there. */
export async function databasesOf(
  { parts, layout }: Pick<Topology, 'parts' | 'layout'>,
  { DATABASE_URL }: Pick<Settings, 'DATABASE_URL'>,
): Promise<ReadonlyMap<typeof SERVICE | typeof RELAY, { path: string; bytes: number }>> {
  const candidates = [
    // With DATABASE_URL, what still stands there is of before.
    ...(parts.includes('service') && DATABASE_URL === '' ? [[SERVICE, `${layout.state}/service/service.db`] as const] : []),
    [RELAY, `${layout.state}/agent/webhooks.db`] as const,
  ];
  const found = new Map<typeof SERVICE | typeof RELAY, { path: string; bytes: number }>();
  for (const [name, path] of candidates) {
    const info = await lstat(path).catch(() => null);
    // The service user may write there: a link could lead anywhere.
    if (info?.isFile() === true) found.set(name, { path, bytes: info.size });
  }
  return found;
}

/** Where copies are made; nothing of it is needed after. */
export function workFolder({ state }: Layout): string {
  return `${state}/backup`;
}

/**
 * Takes everything of this machine as of now: Redis and the databases begin at once, side by side; the small files go first.
 * @throws FleetError BACKUP_REDIS_UNSAVED, BACKUP_DATABASE_FAILED, DISK_FULL, while the members are read
 */
export async function collect(source: Source): Promise<Collected> {
  const { topology, settings, postgres, signal, onProgress } = source;
  const work = workFolder(topology.layout);
  await rm(work, { recursive: true, force: true });
  await mkdir(work, { recursive: true, mode: 0o700 });
  const databases = await databasesOf(topology, settings);
  const counted: Manifest['counts'] = { redis: null, databases: {} };
  const snapshot = topology.hasMedia
    ? takeSnapshot({
        at: { host: '127.0.0.1', port: settings.REDIS_PORT, password: settings.REDIS_PASSWORD },
        folder: redisFolder(topology),
        signal,
        onProgress: (percent) => onProgress(`Redis ${percent} %`),
      })
    : null;
  const copies = [...databases].map(([name, { path }]) => {
    const to = `${work}/${name}`;
    const counts = copyDatabase(path, to, (percent) => onProgress(`${name} ${percent} %`)).catch((error: unknown) => Promise.reject(explainCopy(error, to)));
    return { name, to, counts };
  });
  const dump = postgres === null ? [] : [dumpCopy(postgres, `${work}/${POSTGRES}`, source)];
  // Whichever fails first is heard when its member's turn comes.
  const all = [...copies, ...dump];
  for (const one of [snapshot, ...all.map((copy) => copy.counts)]) one?.catch(() => undefined);

  async function* members(): AsyncGenerator<Member> {
    yield* smallFiles(source);
    if (snapshot !== null) {
      const taken = await snapshot;
      counted.redis = await countKeys(taken.file);
      yield { name: REDIS, bytes: taken.bytes, from: chunksOf(taken) };
    }
    for (const { name, to, counts } of all) {
      counted.databases[name] = await counts;
      yield { name, bytes: (await stat(to)).size, from: to };
    }
  }
  return {
    members: members(),
    counts: () => counted,
    async close() {
      await (await snapshot?.catch(() => null))?.file.close();
      await Promise.allSettled(all.map((copy) => copy.counts));
      await rm(work, { recursive: true, force: true });
    },
  };
}

function dumpCopy(
  postgres: Postgres,
  to: string,
  { signal, onProgress }: Source,
): { name: typeof POSTGRES; to: string; counts: ReturnType<typeof dumpDatabase> } {
  return { name: POSTGRES, to, counts: dumpDatabase(postgres, { to, signal, onProgress: (percent) => onProgress(`PostgreSQL ${percent} %`) }) };
}

async function* smallFiles({ env, topology: { layout } }: Source): AsyncGenerator<Member> {
  yield inMemory(ENV, Buffer.from(env));
  yield* filesBelow(layout.config, '', 'config');
  for (const name of CADDY_KEPT) yield* filesBelow(`${layout.state}/caddy`, name, 'caddy');
  yield* fileBelow(`${layout.state}/agent`, FLEET_MEMORY, 'agent');
}

async function* filesBelow(folder: string, path: string, name: string): AsyncGenerator<Member> {
  const top = await lstat(`${folder}/${path}`).catch(ignoreMissing);
  if (top?.isDirectory() !== true) return;
  const entries = await readdir(`${folder}/${path}`, { withFileTypes: true, recursive: true }).catch(ignoreMissing);
  const paths = (entries ?? []).filter((entry) => entry.isFile()).map((entry) => `${entry.parentPath}/${entry.name}`.slice(folder.length).replace(/^\/+/, ''));
  for (const one of paths.toSorted()) yield* fileBelow(folder, one, name);
}

/** Nothing where there is no such file, or it is not one of those that an archive may have (locks, sockets). */
async function* fileBelow(folder: string, path: string, name: string): AsyncGenerator<Member> {
  const content = isMember(`${name}/${path}`) ? await readBelow(folder, path, { longest: LARGEST_SMALL }) : null;
  if (content !== null) yield inMemory(`${name}/${path}`, content);
}

function inMemory(name: string, from: Buffer): Member {
  return { name, bytes: from.length, from };
}

async function countKeys(file: FileHandle): Promise<Manifest['counts']['redis']> {
  const { buffer, bytesRead } = await file.read(Buffer.alloc(RDB_HEAD_BYTES), 0, RDB_HEAD_BYTES, 0);
  return countRdbKeys(buffer.subarray(0, bytesRead));
}

function chunksOf({ file }: Snapshot): AsyncIterable<Buffer> {
  return file.createReadStream({ start: 0, highWaterMark: CHUNK_BYTES, autoClose: false }) as AsyncIterable<Buffer>;
}

function explainCopy(error: unknown, path: string): unknown {
  // SQLITE_FULL, and what its I/O errors for writing say.
  return error instanceof Error && /disk is full|disk I\/O error/.test(error.message) ? new FleetError('DISK_FULL', { path }, { cause: error }) : error;
}

function ignoreMissing(error: unknown): undefined {
  if (!hasCode(error, 'ENOENT', 'ENOTDIR')) throw error;
}
