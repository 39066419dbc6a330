import { existsSync, statSync } from 'node:fs';
import { chmod, mkdir, rmdir } from 'node:fs/promises';
import { dirname } from 'node:path';
import { appliedFile } from '../apply/observe.ts';
import { checkDataDir } from '../apply/data-dir.ts';
import { checkOperatingSystem } from '../apply/operating-system.ts';
import type { Head } from '../backup/format.ts';
import { checkKind, explainDamage, openArchive } from '../backup/open-archive.ts';
import { explainFullDisk, prove, roomIn } from '../backup/prove.ts';
import type { Proved } from '../backup/prove.ts';
import { workFolder } from '../backup/collect.ts';
import { unfinishedSwap } from '../backup/swap.ts';
import { readHead } from '../backup/unpack.ts';
import { stagingFolder } from '../topology/restore-files.ts';
import { withLock } from '../host/lock.ts';
import { FleetError } from '../kernel/errors.ts';
import { keyFingerprint } from '../render/app.ts';
import { describeBytes, totalBytes } from '../report/bytes.ts';
import { isPlaceholder } from '../settings/parse.ts';
import { COMMANDS } from '../topology/topology.ts';
import { progressOf, redisServer, scratchUser } from './backup.ts';
import { sourceOf } from './backup-place.ts';
import type { Source } from './backup-place.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings, settingsOf } from './context.ts';
import type { CliContext } from './context.ts';
import { describeCounts } from './describe-archive.ts';
import { recorded } from './journal.ts';
import { ask } from './make-way.ts';
import { openerOf } from './passphrase.ts';
import { putInPlace, targetAfter } from './put-in-place.ts';
import type { RestoreWay, Target } from './put-in-place.ts';
import { checkDatabaseTarget } from './restore-database.ts';
import { archivedEnv, nextSettings, saySettings } from './restore-settings.ts';
import { settleRestore } from './settle-restore.ts';

export interface RestoreOptions extends RestoreWay {
  /** Only check, and say what would be done. */
  readonly isDryRun: boolean;
}

/**
 * Makes of this machine what an archive says. All of it is checked, loaded and counted first; then what is there is set aside, what
 * the archive has takes its place by renames, and unless all parts are well in the end what stood before is back.
 * @throws FleetError BACKUP_NOT_FOUND, those of prove, BACKUP_OTHER_FLEET, BACKUP_OTHER_ROLE, BACKUP_NO_SPACE, NOT_SURE_RESTORE, those of
 * checkDatabaseTarget, all
 * before anything is touched; those of deploy, after which what stood before stands again
 */
export async function restore(from: CliContext, given: string, options: RestoreOptions): Promise<void> {
  requireRoot('restore');
  // Where there are no settings yet, they are in the archive.
  const context = { ...from, isEnvNamed: false };
  const { name: path, bytes } = sourceFor(context, given);
  const opener = openerOf(context, path);
  await opener.explain(() => adoptDataDir(context, given, opener.ask));
  const { settings, topology } = loadSettings(context);
  if (!options.isDryRun && !options.isSure && !process.stdin.isTTY) {
    await checkKind(path, bytes);
    throw new FleetError('NOT_SURE_RESTORE', { path }, { exitCode: 2 });
  }
  await checkOperatingSystem(context.host);
  await checkDataDir(context.host, topology);
  const putBack = rememberFolders([topology.layout.state, topology.layout.root]);
  try {
    await withLock(topology.layout.lock, 'restore', async () => {
      const work = (): Promise<void> =>
        opener.explain(() => explainFullDisk(topology.layout.state, () => restoreFrom(context, given, { ...options, askPassphrase: opener.ask })));
      if (options.isDryRun) return work();
      await recorded(context, { settings, topology }, async () => {
        await settleRestore(context, { settings, topology, isGivenUp: options.isAlone });
        await work();
      });
    });
  } finally {
    // What has to be there to unpack something; a deploy gives these folders rights of their own.
    if (!existsSync(appliedFile(topology))) await putBack();
  }
}

/** Notes which folders are there, and their rights; what comes removes the others, and those that lead to them, where they are empty. */
function rememberFolders(paths: readonly string[]): () => Promise<void> {
  const modes = new Map(paths.map((path) => [path, statSync(path, { throwIfNoEntry: false })?.mode]));
  const added: string[] = [];
  for (const path of paths) for (let at = path; !existsSync(at); at = dirname(at)) if (!added.includes(at)) added.push(at);
  return async () => {
    for (const [path, mode] of modes) if (mode !== undefined) await chmod(path, mode & 0o7777);
    for (const path of added.toSorted((a, b) => b.length - a.length)) await rmdir(path).catch(() => undefined);
  };
}

/** On a machine where nothing is deployed, the data go where they were; where that was begun and broken off, where it was begun. */
async function adoptDataDir(context: CliContext, given: string, askPassphrase: () => Promise<string>): Promise<void> {
  const { topology } = loadSettings(context);
  // What is undone first may be the settings that say so.
  if ((await unfinishedSwap(context.host, topology.layout))?.isBare === true) process.env['DATA_DIR'] = topology.layout.root;
  if (existsSync(appliedFile(topology)) || existsSync(context.envPath) || (process.env['DATA_DIR'] ?? '') !== '') return;
  const { name, bytes } = sourceFor(context, given);
  const { dataDir } = await explainDamage(name, () => readHead(name, openArchive(name, bytes, askPassphrase)));
  process.env['DATA_DIR'] = dataDir;
}

function sourceFor(context: CliContext, given: string): Source {
  const { settings, topology } = loadSettings(context);
  return sourceOf(settings, topology.layout, given);
}

async function restoreFrom(context: CliContext, given: string, options: RestoreOptions & { askPassphrase: () => Promise<string> }): Promise<void> {
  const { reporter, host, now, signal } = context;
  const began = now();
  const { settings, topology } = loadSettings(context);
  const { name: path, bytes: chunks } = sourceFor(context, given);
  const target: Target = { settings, topology, isBare: !existsSync(appliedFile(topology)) };
  // A check leaves alone what a restore that was killed has put together.
  const place = options.isDryRun ? workFolder(topology.layout) : stagingFolder(topology.layout);
  const folder = `${place}/new`;
  await host.remove(folder);
  await mkdir(folder, { recursive: true });
  const { root, state } = topology.layout;
  // On a machine that has nothing yet, whoever loads the data has to get there; a deploy sets these rights anew.
  for (const one of [...(target.isBare ? [root, state] : []), place, folder]) await chmod(one, 0o711);
  let proved: Proved | null = null;
  try {
    reporter.emit({ kind: 'step-started', id: 'check', code: 'STEP_RESTORE_CHECK', params: { path } });
    proved = await prove({
      source: path,
      bytes: chunks,
      askPassphrase: options.askPassphrase,
      folder,
      redisServer: async () => {
        // Before Redis come the settings, which say where this machine has its components, or gets them from.
        const own = target.isBare ? settingsOf(await archivedEnv(path, folder)) : target;
        return redisServer(context, own.settings, own.topology);
      },
      user: await scratchUser(context, settings),
      isKept: !options.isDryRun,
      onHead: (head) => checkHead(path, head, { ...target, envPath: context.envPath }),
      onProgress: progressOf(context, 'check'),
      signal,
    });
    reporter.emit({ kind: 'step-finished', id: 'check', ms: now() - began });
    const { head, manifest } = proved;
    const counts = describeCounts(context.language, manifest.counts);
    const bytes = totalBytes(manifest.members);
    const next = await nextSettings(context, proved, { ...target, path });
    const database = await checkDatabaseTarget(context, proved, { ...targetAfter(target, next.text, proved), path });
    const said = database === null ? null : { address: database.postgres.access.address, isReplaced: database.isReplaced };
    if (said !== null) reporter.say(said.isReplaced ? 'RESTORE_DATABASE' : 'RESTORE_DATABASE_STAYS', { address: said.address, madeAt: head.madeAt });
    if (options.isDryRun) {
      const left = (await unfinishedSwap(host, topology.layout))?.phase;
      if (left === 'swapping') reporter.say('RESTORE_UNDOES_FIRST');
      reporter.say('RESTORE_PLANNED', { path, counts, command: COMMANDS[head.role] });
      saySettings(context, next);
      return reporter.result({
        path,
        ...head,
        counts: manifest.counts,
        isWhole: true,
        settings: next.changed,
        missing: next.missing,
        database: said,
        undoesFirst: left === 'swapping',
      });
    }
    if (!options.isSure) await ask(context, 'REALLY_RESTORE', { madeAt: head.madeAt, path });
    reporter.emit({ kind: 'step-started', id: 'restore', code: 'STEP_RESTORE', params: { machine: head.machine, madeAt: head.madeAt } });
    const { awaySeconds, former } = await putInPlace(context, proved, {
      target,
      next: next.text,
      source: given,
      database: database?.isReplaced === true ? database : null,
      options,
    });
    const seconds = Number(((now() - began) / 1000).toFixed(1));
    reporter.say('RESTORED', { madeAt: head.madeAt, seconds, away: awaySeconds, size: describeBytes(bytes), counts });
    saySettings(context, next);
    sayAddress(context, head, target);
    if (former !== null) reporter.say('RESTORE_KEPT', { path: former });
    reporter.result({
      path,
      madeAt: head.madeAt,
      machine: head.machine,
      role: head.role,
      seconds,
      awaySeconds,
      bytes,
      counts: manifest.counts,
      settings: next.changed,
      missing: next.missing,
      database: said,
      former,
    });
  } finally {
    await proved?.redis?.[Symbol.asyncDispose]();
    // What is still there was never in use, or is noted as something that the next command has to settle.
    if (options.isDryRun || !existsSync(`${place}/plan.json`)) await host.remove(place);
  }
}

/** Refuses an archive by its first bytes. @throws FleetError BACKUP_OTHER_FLEET, BACKUP_OTHER_KEYS, BACKUP_OTHER_ROLE, BACKUP_NO_SPACE */
async function checkHead(path: string, head: Head, { settings, topology, isBare, envPath }: Target & { envPath: string }): Promise<void> {
  const isOther = !isPlaceholder(settings.LIVEKIT_API_SECRET) && head.fingerprint !== keyFingerprint(settings);
  if (isOther && isBare) throw new FleetError('BACKUP_OTHER_KEYS', { path, machine: head.machine, env: envPath }, { exitCode: 2 });
  if (isOther) throw new FleetError('BACKUP_OTHER_FLEET', { path, machine: head.machine }, { exitCode: 2 });
  if (!isBare && head.role !== topology.role)
    throw new FleetError('BACKUP_OTHER_ROLE', { path, was: COMMANDS[head.role], wanted: COMMANDS[topology.role] }, { exitCode: 2 });
  const free = roomIn(topology.layout.state);
  if (free < head.bytes)
    throw new FleetError('BACKUP_NO_SPACE', { path: topology.layout.state, free: describeBytes(free), needed: describeBytes(head.bytes) }, { exitCode: 2 });
}

/** A machine that takes another one's place at an address of its own: what leads to it has to follow. */
function sayAddress({ reporter }: CliContext, head: Head, { topology, isBare }: Target): void {
  if (isBare && head.address !== topology.address) reporter.say('RESTORE_OTHER_ADDRESS', { was: head.address, now: topology.address });
}
