import { beyond, removeBeyond } from '../backup/retention.ts';
import { withLock } from '../host/lock.ts';
import { describeBytes, totalBytes } from '../report/bytes.ts';
import { alignRows } from '../report/columns.ts';
import { proveSource } from './backup.ts';
import { placeOf, sourceOf } from './backup-place.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { deployed } from './control.ts';
import { describeCounts } from './describe-archive.ts';
import { openerOf } from './passphrase.ts';

/** The archives that are kept, the newest first. @throws FleetError BACKUP_PLACE_UNREADABLE */
export async function listBackups(context: CliContext, to: string | undefined): Promise<void> {
  requireRoot('backup');
  const { settings, topology } = loadSettings(context);
  const place = placeOf(settings, topology.layout, to);
  const kept = await place.list();
  if (kept.length === 0) context.reporter.say('BACKUP_LIST_EMPTY', { place: place.name });
  const rows = kept.map((one) => [one.madeAt, one.machine, describeBytes(one.bytes), place.addressOf(one.name)]);
  for (const line of alignRows(rows, { right: [2] })) context.reporter.line(line);
  context.reporter.result({ place: place.name, backups: kept.map((one) => ({ ...one, path: place.addressOf(one.name) })) });
}

/** Removes what is beyond the number that is kept of each machine. @throws FleetError BACKUP_PLACE_UNREADABLE, BACKUP_PLACE_UNUSABLE */
export async function pruneBackups(
  context: CliContext,
  { to, keep, isDryRun }: { to: string | undefined; keep: number | undefined; isDryRun: boolean },
): Promise<void> {
  requireRoot('backup');
  const { reporter } = context;
  const { settings, topology } = loadSettings(context);
  const place = placeOf(settings, topology.layout, to);
  const count = keep ?? settings.BACKUP_KEEP;
  const old = await (isDryRun ? beyond : removeBeyond)(place, { keep: count, nowMs: Date.now() });
  const said = { count: old.length, size: describeBytes(totalBytes(old)), place: place.name };
  if (old.length === 0) reporter.say('BACKUP_NOTHING_TO_PRUNE', { keep: count, place: place.name });
  else if (isDryRun) reporter.say('BACKUP_PRUNE_PLANNED', { ...said, keep: count });
  else reporter.say('BACKUP_PRUNED', said);
  const rows = old.map((one) => ['  -', one.madeAt, one.machine, describeBytes(one.bytes), one.name]);
  for (const line of alignRows(rows, { right: [3] })) reporter.line(line);
  reporter.result({ place: place.name, removed: old.map((one) => one.name), bytes: totalBytes(old), isDryRun });
}

/**
 * Unpacks, loads and counts an archive that is there already; nothing else is done with it.
 * @param given how a person names it
 * @throws FleetError NOT_DEPLOYED, BACKUP_NOT_FOUND, those of prove
 */
export async function verifyBackup(context: CliContext, given: string): Promise<void> {
  requireRoot('backup');
  const { settings, topology } = deployed(context);
  const source = sourceOf(settings, topology.layout, given);
  const opener = openerOf(context, source.name);
  await withLock(topology.layout.lock, 'backup', async () => {
    const { head, manifest } = await opener.explain(() => proveSource(context, { settings, topology, source, askPassphrase: opener.ask }));
    context.reporter.say('BACKUP_PROVED', { counts: describeCounts(context.language, manifest.counts) });
    context.reporter.result({ path: source.name, ...head, counts: manifest.counts, isProved: true });
  });
}
