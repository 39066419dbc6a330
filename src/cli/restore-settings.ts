import { existsSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { ENV } from '../backup/format.ts';
import { placeIn } from '../backup/prove.ts';
import type { Proved } from '../backup/prove.ts';
import { damaged } from '../backup/unpack.ts';
import { hasCode } from '../kernel/has-code.ts';
import { editEnv, readEnv } from '../settings/env-file.ts';
import { givenSettings } from './backup.ts';
import type { CliContext } from './context.ts';
import type { Target } from './put-in-place.ts';

/** The settings of a machine that is restored. */
export interface NextSettings {
  /** As they are to be: those of the archive, where it is of this very machine or nothing is deployed here; null: as they are. */
  readonly text: string | null;
  /** How many the archive has, where all of them come from there: nothing was deployed here. */
  readonly all: number | null;
  /** Names of those that were said otherwise before. */
  readonly changed: readonly string[];
  /** `NAME=path` of those that name a file or folder that is not on this machine. */
  readonly missing: readonly string[];
}

/** The settings of an archive that is unpacked. @throws FleetError BACKUP_DAMAGED where it has none */
export function archivedEnv(path: string, folder: string): Promise<string> {
  return readFile(placeIn(folder, ENV), 'utf8').catch((error: unknown) =>
    Promise.reject(hasCode(error, 'ENOENT') ? damaged(path, `${ENV}: missing`, error) : error),
  );
}

/** @param target.path where the archive came from @throws FleetError BACKUP_DAMAGED */
export async function nextSettings(
  { envPath }: CliContext,
  { head, folder }: Proved,
  { topology, isBare, path }: Target & { path: string },
): Promise<NextSettings> {
  const now = await readFile(envPath, 'utf8').catch(() => '');
  if (!isBare && head.machine !== topology.machine) return { text: null, all: null, changed: [], missing: [] };
  const archived = await archivedEnv(path, folder);
  // Data stay where they are on this machine, or go where they were asked to; so does what else was said for a new one.
  const text = editEnv(archived, { ...(isBare ? givenSettings() : {}), DATA_DIR: topology.layout.root });
  const [before, after] = [valuesOf(now), valuesOf(text)];
  const names = [...new Set([...before.keys(), ...after.keys()])];
  const differing = names.filter((name) => (before.get(name) ?? '') !== (after.get(name) ?? ''));
  const missing = [...after]
    .filter(([name, value]) => value.startsWith('/') && !MADE.has(name) && !existsSync(value))
    .map(([name, value]) => `${name}=${value}`);
  return {
    text: differing.length === 0 ? null : text,
    all: isBare ? [...after.values()].filter((value) => value !== '').length : null,
    // Of a machine that had none, they all differ.
    changed: isBare ? differing.filter((name) => (before.get(name) ?? '') !== '') : differing,
    missing,
  };
}

/** Says what a person has to know of them, and look after. */
export function saySettings({ reporter, envPath }: CliContext, { all, changed, missing }: NextSettings): void {
  if (all !== null) reporter.say('RESTORE_SETTINGS_ALL', { count: all, path: envPath });
  if (changed.length > 0) reporter.say('RESTORE_SETTINGS', { names: changed.join(', ') });
  if (missing.length > 0) reporter.say('RESTORE_FILES_MISSING', { names: missing.join(', ') });
}

/** Folders that are made where they are missing. */
const MADE = new Set(['DATA_DIR', 'COMPONENT_DIR']);

function valuesOf(text: string): ReadonlyMap<string, string> {
  return new Map(readEnv(text).assignments.map(({ name, value }) => [name, value]));
}
