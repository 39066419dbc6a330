import { existsSync } from 'node:fs';
import { chmod, mkdir, readFile, rmdir, stat, statfs } from 'node:fs/promises';
import { resolve } from 'node:path';
import { appliedFile } from '../apply/observe.ts';
import { checkDataDir } from '../apply/data-dir.ts';
import { checkOperatingSystem } from '../apply/operating-system.ts';
import { ENV } from '../backup/format.ts';
import type { Head } from '../backup/format.ts';
import { carryMoment, dropMoment } from '../backup/moment.ts';
import { readFileChunks } from '../backup/place.ts';
import { placeIn, prove } from '../backup/prove.ts';
import type { Proved } from '../backup/prove.ts';
import { stage } from '../backup/stage.ts';
import { completeSwap, formerFolder, stagingFolder, swap } from '../backup/swap.ts';
import { withLock } from '../host/lock.ts';
import { makeUser, findUser } from '../host/service-user.ts';
import { FleetError } from '../kernel/errors.ts';
import { keyFingerprint } from '../render/app.ts';
import { editEnv, readEnv } from '../settings/env-file.ts';
import { isPlaceholder } from '../settings/parse.ts';
import type { Settings } from '../settings/schema.ts';
import { COMMANDS, madeUserFile } from '../topology/topology.ts';
import type { Topology } from '../topology/topology.ts';
import { describeCounts, megabytes, passphraseOf, progressOf, redisServer, scratchUser } from './backup.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings, settingsOf } from './context.ts';
import type { CliContext } from './context.ts';
import { bringUp, seedOf } from './deploy.ts';
import { recorded } from './journal.ts';
import { ask } from './make-way.ts';
import type { WayOptions } from './make-way.ts';
import { openManager } from './prepare.ts';
import { settleRestore, stopAnyway, undoRestore } from './settle-restore.ts';

export interface RestoreOptions extends WayOptions {
  /** Only check, and say what would be done. */
  readonly isDryRun: boolean;
}

/** The machine that an archive is to be restored on, before anything is. */
interface Target {
  readonly settings: Settings;
  readonly topology: Topology;
  /** Whether nothing is deployed here. */
  readonly isBare: boolean;
}

/**
 * Makes of this machine what an archive says. All of it is checked, loaded and counted first; then what is there is set aside, what
 * the archive has takes its place by renames, and unless all parts are well in the end what stood before is back.
 * @throws FleetError BACKUP_NOT_FOUND, those of prove, BACKUP_OTHER_FLEET, BACKUP_OTHER_ROLE, BACKUP_NO_SPACE, NOT_SURE_RESTORE, all
 * before anything is touched; those of deploy, after which what stood before stands again
 */
export async function restore(context: CliContext, given: string, options: RestoreOptions): Promise<void> {
  requireRoot('restore');
  const path = resolve(given);
  const info = await stat(path).catch((error: unknown) => {
    throw new FleetError('BACKUP_NOT_FOUND', { path, reason: codeOf(error) }, { exitCode: 2 });
  });
  if (!info.isFile()) throw new FleetError('BACKUP_NOT_FOUND', { path, reason: info.isDirectory() ? 'EISDIR' : 'not a file' }, { exitCode: 2 });
  const { settings, topology } = loadSettings(context);
  if (!options.isDryRun && !options.isSure && !process.stdin.isTTY) throw new FleetError('NOT_SURE_RESTORE', { path }, { exitCode: 2 });
  await checkOperatingSystem(context.host);
  await checkDataDir(context.host, topology);
  const isNew = !existsSync(topology.layout.root);
  try {
    await withLock(topology.layout.lock, 'restore', async () => {
      const run = async (): Promise<void> => {
        await settleRestore(context, settings, topology);
        await restoreFrom(context, path, options);
      };
      await (options.isDryRun ? run() : recorded(context, { settings, topology }, run));
    });
  } finally {
    // A check alone leaves nothing on a machine that has nothing.
    if (isNew) for (const folder of [topology.layout.state, topology.layout.root]) await rmdir(folder).catch(() => undefined);
  }
}

async function restoreFrom(context: CliContext, path: string, options: RestoreOptions): Promise<void> {
  const { reporter, host, now, signal } = context;
  const began = now();
  const { settings, topology } = loadSettings(context);
  const target: Target = { settings, topology, isBare: !existsSync(appliedFile(topology)) };
  const folder = `${stagingFolder(topology.layout)}/new`;
  await mkdir(folder, { recursive: true });
  const { root, state } = topology.layout;
  // On a machine that has nothing yet, whoever loads the data has to get there; a deploy sets these rights anew.
  for (const one of [...(target.isBare ? [root, state] : []), stagingFolder(topology.layout), folder]) await chmod(one, 0o711);
  let proved: Proved | null = null;
  try {
    reporter.emit({ kind: 'step-started', id: 'check', code: 'STEP_RESTORE_CHECK', params: { path } });
    proved = await prove({
      source: path,
      bytes: readFileChunks(path),
      askPassphrase: async () => {
        const passphrase = passphraseOf(settings);
        if (passphrase === null) throw new FleetError('BACKUP_PASSPHRASE_MISSING', { path }, { exitCode: 2 });
        return passphrase;
      },
      folder,
      redisServer: () => redisServer(context, settings, topology),
      user: await scratchUser(context, settings),
      onHead: (head) => checkHead(path, head, target),
      onProgress: progressOf(context, 'check'),
      signal,
    });
    reporter.emit({ kind: 'step-finished', id: 'check', ms: now() - began });
    const { head, manifest } = proved;
    const counts = describeCounts(manifest.counts);
    const bytes = manifest.members.reduce((sum, one) => sum + one.bytes, 0);
    const next = await nextSettings(context, proved, target);
    if (options.isDryRun) {
      reporter.say('RESTORE_PLANNED', { path, counts, command: COMMANDS[head.role] });
      return reporter.result({ path, ...head, counts: manifest.counts, isWhole: true, settings: next.changed });
    }
    if (!options.isSure) await ask(context, 'REALLY_RESTORE', { madeAt: head.madeAt, path });
    reporter.emit({ kind: 'step-started', id: 'restore', code: 'STEP_RESTORE', params: { machine: head.machine, madeAt: head.madeAt } });
    await putInPlace(context, proved, { target, next, options });
    const seconds = Number(((now() - began) / 1000).toFixed(1));
    reporter.say('RESTORED', { madeAt: head.madeAt, seconds, size: megabytes(bytes), counts });
    if (next.changed.length > 0) reporter.say('RESTORE_SETTINGS', { names: next.changed.join(', ') });
    const former = existsSync(formerFolder(topology.layout)) ? formerFolder(topology.layout) : null;
    if (former !== null) reporter.say('RESTORE_KEPT', { path: former });
    reporter.result({
      path,
      madeAt: head.madeAt,
      machine: head.machine,
      role: head.role,
      seconds,
      bytes,
      counts: manifest.counts,
      settings: next.changed,
      former,
    });
  } finally {
    await proved?.redis?.[Symbol.asyncDispose]();
    // What is still there was never in use, or is noted as something that the next command has to settle.
    if (!existsSync(`${stagingFolder(topology.layout)}/plan.json`)) await host.remove(stagingFolder(topology.layout));
  }
}

/** Refuses an archive by its first bytes. @throws FleetError BACKUP_OTHER_FLEET, BACKUP_OTHER_ROLE, BACKUP_NO_SPACE */
async function checkHead(path: string, head: Head, { settings, topology, isBare }: Target): Promise<void> {
  const isOther = !isPlaceholder(settings.LIVEKIT_API_SECRET) && head.fingerprint !== keyFingerprint(settings);
  if (isOther) throw new FleetError('BACKUP_OTHER_FLEET', { path, machine: head.machine }, { exitCode: 2 });
  if (!isBare && head.role !== topology.role)
    throw new FleetError('BACKUP_OTHER_ROLE', { path, was: COMMANDS[head.role], wanted: COMMANDS[topology.role] }, { exitCode: 2 });
  const { bavail, bsize } = await statfs(topology.layout.state);
  const free = bavail * bsize;
  if (free < head.bytes) throw new FleetError('BACKUP_NO_SPACE', { path: topology.layout.state, free: megabytes(free), needed: megabytes(head.bytes) });
}

/** The settings as they are to be: those of the archive, where it is of this very machine or nothing is deployed here; null: as they are. */
async function nextSettings(
  { envPath }: CliContext,
  { head, folder }: Proved,
  { topology, isBare }: Target,
): Promise<{ text: string | null; changed: string[] }> {
  const now = await readFile(envPath, 'utf8').catch(() => '');
  if (!isBare && head.machine !== topology.machine) return { text: null, changed: [] };
  const archived = await readFile(placeIn(folder, ENV), 'utf8');
  // Data stay where they are on this machine.
  const text = isBare ? archived : editEnv(archived, { DATA_DIR: topology.layout.root });
  const [before, after] = [now, text].map((one) => new Map(readEnv(one).assignments.map(({ name, value }) => [name, value])));
  const names = [...new Set([...(before?.keys() ?? []), ...(after?.keys() ?? [])])];
  const changed = names.filter((name) => (before?.get(name) ?? '') !== (after?.get(name) ?? ''));
  return changed.length === 0 ? { text: null, changed } : { text, changed };
}

async function putInPlace(
  context: CliContext,
  proved: Proved,
  { target, next, options }: { target: Target; next: { text: string | null; changed: readonly string[] }; options: RestoreOptions },
): Promise<void> {
  const { host, envPath } = context;
  const { head, folder, manifest } = proved;
  const { isBare } = target;
  const { settings, topology } = next.text === null ? target : settingsOf(next.text, head.role);
  const { layout } = topology;
  const manager = await openManager(context, settings, topology);
  const user = (await findUser(host, settings.SERVICE_USER)) ?? (await makeUser(host, settings.SERVICE_USER, madeUserFile(layout)));
  // A machine that comes back to a fleet follows its primary, whose data are newer.
  const isFollower = isBare && topology.hasMedia && (await seedOf(context, settings, { topology, isNewFleet: false })).primary !== topology.address;
  const hasRedis = proved.redis !== null && topology.hasMedia && !isFollower;
  if (proved.redis !== null && hasRedis) {
    await dropMoment(proved.redis.redis);
    if (!isBare) await carryFrom(settings, proved.redis);
    await proved.redis.end();
  }
  const staged = await stage({ topology, folder, members: manifest.members, envPath, env: next.text, hasRedis, isBare, user });
  if (!isBare) for (const part of staged.parts.toReversed()) await stopAnyway(manager, part);
  try {
    await swap(host, layout, staged);
    await bringUp(context, { role: head.role, isNewFleet: false, ...options });
  } catch (error) {
    await undoRestore(context, manager, topology);
    if (!isBare) await bringUp({ ...context, signal: new AbortController().signal }, { role: head.role, isNewFleet: false, ...options }).catch(() => undefined);
    throw error;
  }
  await completeSwap(host, layout);
}

/** Rooms that go on, go on: what tells of them now goes into the data that come. A Redis that does not answer has nothing to tell. */
async function carryFrom(settings: Settings, scratch: NonNullable<Proved['redis']>): Promise<void> {
  const { Redis: Client } = await import('ioredis');
  const live = new Client({ host: '127.0.0.1', port: settings.REDIS_PORT, password: settings.REDIS_PASSWORD, lazyConnect: true, retryStrategy: () => null });
  live.on('error', () => undefined);
  const isUp = await live.connect().then(
    () => true,
    () => false,
  );
  if (isUp) await carryMoment(live, scratch.redis);
  live.disconnect();
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : String(error);
}
