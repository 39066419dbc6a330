import { randomUUID } from 'node:crypto';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { mkdir, rm, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { readDeployed } from '../apply/chosen-version.ts';
import { collect, databasesOf, workFolder } from '../backup/collect.ts';
import { encrypt } from '../backup/encryption.ts';
import { FORMAT, OLDEST_FORMAT, POSTGRES, archiveName } from '../backup/format.ts';
import type { Head, Manifest } from '../backup/format.ts';
import type { Place } from '../backup/place.ts';
import { reachPostgres } from '../backup/postgres-facts.ts';
import type { Postgres } from '../backup/postgres-session.ts';
import { explainFullDisk, prove } from '../backup/prove.ts';
import { keepIfProved, removeBeyond } from '../backup/retention.ts';
import { unfinishedSwap } from '../backup/swap.ts';
import type { ArchiveContents } from '../backup/unpack.ts';
import { writeArchive } from '../backup/write-archive.ts';
import { probeAll } from '../health/probe.ts';
import { withLock } from '../host/lock.ts';
import { findUser } from '../host/service-user.ts';
import { FleetError } from '../kernel/errors.ts';
import { keyFingerprint } from '../render/app.ts';
import { describeBytes, totalBytes } from '../report/bytes.ts';
import { editEnv } from '../settings/env-file.ts';
import { variableNames } from '../settings/schema.ts';
import type { Settings } from '../settings/schema.ts';
import { backupFiles } from '../topology/backup-files.ts';
import type { Layout, Topology } from '../topology/topology.ts';
import { placeOf } from './backup-place.ts';
import type { Source } from './backup-place.ts';
import { requireRoot } from './become-root.ts';
import type { CliContext } from './context.ts';
import { loadSettings } from './context.ts';
import { deployed } from './control.ts';
import { describeCounts } from './describe-archive.ts';
import { recorded } from './journal.ts';
import { passphraseOf } from './passphrase.ts';
import { bring } from './prepare.ts';
import { settleRestore } from './settle-restore.ts';

/** What `backup` was told. */
export interface BackupOptions {
  /** Folder or `s3://bucket/prefix` in the place of BACKUP_DIR. */
  readonly to: string | undefined;
  /** Prove the archive when it is written. */
  readonly isProved: boolean;
  /** Remove what is beyond BACKUP_KEEP after. */
  readonly isPruned: boolean;
  /** In the place of BACKUP_KEEP. */
  readonly keep: number | undefined;
  readonly isDryRun: boolean;
}

/** Says a step's progress once a second at most. */
export function progressOf({ reporter, now }: CliContext, id: string): (detail: string) => void {
  let last = now();
  return (detail) => {
    if (now() - last < 1_000) return;
    last = now();
    reporter.emit({ kind: 'step-progress', id, detail });
  };
}

const SAME_SECOND_MS = 100;

/** Writes an archive of this machine as of now. @throws FleetError BACKUP_PART_SICK, DATABASE_UNREACHABLE, DATABASE_CLIENT_MISSING, DATABASE_CLIENT_OLD, BACKUP_DATABASE_EMPTY, BACKUP_REDIS_UNSAVED, DISK_FULL, BACKUP_PLACE_UNUSABLE */
export async function backup(context: CliContext, options: BackupOptions): Promise<void> {
  requireRoot('backup');
  const { settings, topology } = deployed(context);
  const place = placeOf(settings, topology.layout, options.to);
  if (options.isDryRun) return planBackup(context, { settings, topology, place });
  await withLock(topology.layout.lock, 'backup', () =>
    recorded(context, { settings, topology }, async () => {
      // Some of its data may be those of then, and some of now.
      if ((await unfinishedSwap(context.host, topology.layout))?.phase === 'swapping') throw new FleetError('RESTORE_UNFINISHED', {});
      await settleRestore(context, { settings, topology });
      const [began, startedAt] = [context.now(), new Date()];
      const isNewFolder = (options.to ?? settings.BACKUP_DIR) !== '' && isMissing(place);
      const made = await explainFullDisk(topology.layout.state, () => makeArchive(context, { settings, topology, place }));
      const { name } = made;
      const proof = (): Promise<void> => explainFullDisk(topology.layout.state, () => proveArchive(context, { settings, topology, place, name }));
      if (options.isProved) await keepIfProved(place, name, proof);
      const retention = { keep: options.keep ?? settings.BACKUP_KEEP, nowMs: Date.now(), machine: topology.machine, made: name };
      const removed = options.isPruned ? await removeBeyond(place, retention) : [];
      // Of the part `backups`, which this is perhaps: one elsewhere does not mend what it cannot do.
      if (options.to === undefined) await noteSuccess(context, topology.layout, startedAt);
      const seconds = Number(((context.now() - began) / 1000).toFixed(1));
      const path = place.addressOf(made.name);
      const counts = describeCounts(context.language, made.counts);
      if (isNewFolder) context.reporter.say('BACKUP_FOLDER_MADE', { path: place.name });
      context.reporter.say('BACKED_UP', { path, size: describeBytes(made.bytes), data: describeBytes(made.dataBytes), seconds, counts });
      if (options.isProved) context.reporter.say('BACKUP_PROVED', { counts });
      const size = describeBytes(totalBytes(removed));
      if (removed.length > 0) context.reporter.say('BACKUP_PRUNED', { count: removed.length, size, place: place.name });
      for (const one of removed) context.reporter.line(`  - ${one.name}`);
      const names = removed.map((one) => one.name);
      context.reporter.result({ path, bytes: made.bytes, dataBytes: made.dataBytes, seconds, counts: made.counts, isProved: options.isProved, removed: names });
    }),
  );
}

/** For `status`: what failed before does not count any more. */
async function noteSuccess({ host }: CliContext, layout: Layout, at: Date): Promise<void> {
  await host.write(backupFiles(layout).last, `last backup ${at.toISOString().slice(0, 19)}Z\n`, { mode: 0o600, uid: 0, gid: 0 });
}

/** PostgreSQL, where the service keeps its data there. @throws FleetError BACKUP_DATABASE_EMPTY where they are not there, unless `mayBeEmpty`: null then */
async function postgresOf(
  context: CliContext,
  settings: Settings,
  { topology: { parts }, mayBeEmpty }: { topology: Topology; mayBeEmpty: boolean },
): Promise<{ postgres: Postgres; bytes: number } | null> {
  if (!parts.includes('service') || settings.DATABASE_URL === '') return null;
  const { postgres, facts } = await reachPostgres(settings.DATABASE_URL, { user: await scratchUser(context, settings), signal: context.signal });
  if (facts.tables.length > 0) return { postgres, bytes: totalBytes(facts.tables) };
  // Whoever finds out when it is to be restored finds out too late.
  if (!mayBeEmpty) throw new FleetError('BACKUP_DATABASE_EMPTY', { address: postgres.access.address, schema: facts.schema ?? '-' });
  return null;
}

/** Whether a folder will be made. */
function isMissing({ name }: Place): boolean {
  return !name.startsWith('s3:') && !existsSync(name);
}

interface Machine {
  readonly settings: Settings;
  readonly topology: Topology;
  readonly place: Place;
  /** Whether the service's tables may be missing in PostgreSQL: they are to be restored. */
  readonly mayBeEmpty?: boolean;
}

interface Made {
  readonly name: string;
  readonly bytes: number;
  readonly dataBytes: number;
  readonly counts: Manifest['counts'];
}

/** Writes an archive of this machine into a place. */
export async function makeArchive(context: CliContext, { settings, topology, place, mayBeEmpty = false }: Machine): Promise<Made> {
  const { reporter, signal } = context;
  await checkRedis(settings, topology, await findUser(context.host, settings.SERVICE_USER));
  const database = await postgresOf(context, settings, { topology, mayBeEmpty });
  const passphrase = passphraseOf(settings);
  // Whoever may only write there cannot look; a place that cannot be used says so when it is written to.
  const taken = new Set((await place.list().catch(() => [])).map((one) => one.name));
  let head = await headOf(context, { settings, topology, database });
  let name = archiveName(head, passphrase !== null);
  // A name tells the second: the archive of a moment ago stays.
  while (taken.has(name)) {
    await delay(SAME_SECOND_MS, undefined, { signal });
    head = { ...head, madeAt: new Date().toISOString() };
    name = archiveName(head, passphrase !== null);
  }
  reporter.emit({ kind: 'step-started', id: 'backup', code: 'STEP_BACKUP', params: { machine: head.machine, place: place.name } });
  const onProgress = progressOf(context, 'backup');
  const collected = await collect({ settings, topology, postgres: database?.postgres ?? null, env: settingsInForce(context), signal, onProgress });
  try {
    let dataBytes = 0;
    const archive = writeArchive({
      head,
      members: collected.members,
      counts: collected.counts,
      onBytes: (bytes) => {
        dataBytes += bytes;
        onProgress(describeBytes(dataBytes));
      },
    });
    const bytes = await place.write(name, passphrase === null ? archive : encrypt(archive, passphrase), signal);
    return { name, bytes, dataBytes, counts: collected.counts() };
  } finally {
    await collected.close();
  }
}

/** Reads an archive back, and unpacks, loads and counts it. @throws FleetError BACKUP_DAMAGED */
export async function proveArchive(context: CliContext, { settings, topology, place, name }: Machine & { name: string }): Promise<void> {
  const source = { name: place.addressOf(name), bytes: place.read(name) };
  await proveSource(context, { settings, topology, source, askPassphrase: async () => passphraseOf(settings) ?? '' });
}

/** Reads an archive, and unpacks, loads and counts it. @throws FleetError those of prove */
export async function proveSource(
  context: CliContext,
  { settings, topology, source, askPassphrase }: Omit<Machine, 'place'> & { source: Source; askPassphrase: () => Promise<string> },
): Promise<ArchiveContents> {
  context.reporter.emit({ kind: 'step-started', id: 'proof', code: 'STEP_BACKUP_PROOF', params: { path: source.name } });
  const folder = workFolder(topology.layout);
  await rm(folder, { recursive: true, force: true });
  await mkdir(folder, { recursive: true, mode: 0o711 });
  try {
    const proved = await prove({
      source: source.name,
      bytes: source.bytes,
      askPassphrase,
      folder,
      redisServer: () => redisServer(context, settings, topology),
      user: await scratchUser(context, settings),
      isKept: false,
      onHead: () => undefined,
      onProgress: progressOf(context, 'proof'),
      signal: context.signal,
    });
    await proved.redis?.[Symbol.asyncDispose]();
    return proved;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The program that loads an archive's Redis. */
export async function redisServer(context: CliContext, settings: Settings, topology: Topology): Promise<string> {
  const brought = await bring(context, settings, { topology, names: ['redis'] });
  const path = brought.redis?.binaries['redis-server'];
  if (path === undefined) throw new FleetError('COMPONENT_UNAVAILABLE', { component: 'redis', tried: 'redis-server' });
  return path;
}

/** Whom scratch processes run as: the service user, or where nothing was deployed yet the system's nobody. */
export async function scratchUser({ host }: CliContext, settings: Settings): Promise<{ uid: number; gid: number }> {
  return (await findUser(host, settings.SERVICE_USER)) ?? { uid: 65_534, gid: 65_534 };
}

/** A Redis that is loading, or whose port another user holds, is not asked for its data. */
async function checkRedis(settings: Settings, topology: Topology, user: { uid: number } | null): Promise<void> {
  if (!topology.hasMedia) return;
  const [health] = await probeAll({ settings, topology, user }, ['redis']);
  if (health?.ok !== true) throw new FleetError('BACKUP_PART_SICK', { part: 'redis', detail: health?.detail ?? '' });
}

async function headOf(
  { projectRoot, host }: CliContext,
  { settings, topology, database }: { settings: Settings; topology: Topology; database: { bytes: number } | null },
): Promise<Head> {
  const { version } = JSON.parse(readFileSync(`${projectRoot}/package.json`, 'utf8')) as { version: string };
  const databases = [...(await databasesOf(topology, settings)).values()].reduce((sum, one) => sum + one.bytes, database?.bytes ?? 0);
  return {
    product: 'livekit-fleet',
    format: database === null ? OLDEST_FORMAT : FORMAT,
    id: randomUUID(),
    madeAt: new Date().toISOString(),
    machine: topology.machine,
    address: topology.address,
    role: topology.role,
    dataDir: topology.layout.root,
    fingerprint: keyFingerprint(settings),
    versions: { fleet: version, node: process.versions.node, livekit: await readDeployed(host, topology.layout) },
    bytes: databases + (topology.hasMedia ? await appendOnlyBytes(topology.layout) : 0),
  };
}

/** What Redis's data take about: its append-only files on the disk. */
async function appendOnlyBytes({ state }: Layout): Promise<number> {
  const files = globSync([`${state}/redis/appendonlydir/*`, `${state}/redis/appendonly.aof`]);
  const sizes = await Promise.all(
    files.map((path) =>
      stat(path).then(
        (info) => info.size,
        () => 0,
      ),
    ),
  );
  return sizes.reduce((sum, one) => sum + one, 0);
}

/** The text of `.env` with what the command line or the environment says instead, but for what concerns backups. */
function settingsInForce(context: CliContext): string {
  return editEnv(loadSettings(context).envText, givenSettings());
}

/** What the command line or the environment says instead of `.env`, but for what concerns backups. */
export function givenSettings(): Record<string, string> {
  const given = variableNames.filter((name) => !name.startsWith('BACKUP_') && (process.env[name] ?? '').trim() !== '');
  return Object.fromEntries(given.map((name) => [name, (process.env[name] ?? '').trim()]));
}

async function planBackup(context: CliContext, { settings, topology, place }: Machine): Promise<void> {
  const { reporter } = context;
  const database = await postgresOf(context, settings, { topology, mayBeEmpty: false });
  const databases = await databasesOf(topology, settings);
  const redis = topology.hasMedia ? await appendOnlyBytes(topology.layout) : 0;
  const members = [
    ...(topology.hasMedia ? ['redis.rdb'] : []),
    ...databases.keys(),
    ...(database === null ? [] : [POSTGRES]),
    'env',
    'config',
    ...(topology.parts.includes('caddy') ? ['caddy'] : []),
  ];
  const bytes = [...databases.values()].reduce((sum, one) => sum + one.bytes, redis + (database?.bytes ?? 0));
  const path = place.addressOf(archiveName({ machine: topology.machine, madeAt: new Date().toISOString() }, passphraseOf(settings) !== null));
  reporter.say('BACKUP_PLANNED', { path, data: describeBytes(bytes), members: members.join(', ') });
  reporter.result({ path, dataBytes: bytes, members });
}
