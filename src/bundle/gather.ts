import { copyFile, cp, mkdir, rm } from 'node:fs/promises';
import { join } from 'node:path';
import type { BroughtComponent } from '../components/bring.ts';
import { catalogue } from '../components/catalogue.ts';
import type { ComponentName } from '../components/catalogue.ts';
import { commitStage, listStored } from '../components/component-store.ts';
import type { Stored } from '../components/component-store.ts';
import { writeLaunchers } from '../components/launcher.ts';
import type { Runner } from '../components/run-command.ts';
import { carryLibraries, findOutsideLibraries } from '../components/shared-libraries.ts';

/**
 * A component as a folder that needs nothing of the machine but its C library: the one in the store, or where its programs are
 * elsewhere (the system's, a path that a person gave) or take libraries from this machine, a completed copy in `scratch`.
 * @throws SourceError naming a library that is missing
 */
export async function gatherComponent(
  name: ComponentName,
  brought: BroughtComponent,
  options: { storeDir: string; scratch: string; runner: Runner },
): Promise<Stored> {
  const { storeDir, scratch, runner } = options;
  const stored = (await listStored(storeDir, name)).find(({ folder }) => Object.values(brought.binaries).every((path) => path.startsWith(`${folder}/`)));
  const outside = stored === undefined ? null : await findOutsideLibraries(stored.folder, runner);
  if (stored !== undefined && outside?.size === 0) return stored;
  const folder = join(scratch, `.${name}`);
  if (stored === undefined) {
    await mkdir(join(folder, 'usr/bin'), { recursive: true });
    for (const [binary, path] of Object.entries(brought.binaries)) await copyFile(path, join(folder, 'usr/bin', binary));
  } else {
    await cp(stored.folder, folder, { recursive: true, verbatimSymlinks: true });
    await rm(join(folder, 'manifest.json'));
  }
  await carryLibraries(folder, outside ?? (await findOutsideLibraries(folder, runner)), runner);
  const binaries = await writeLaunchers(folder, { ...catalogue[name], binaries: Object.keys(brought.binaries) });
  return commitStage(scratch, name, { folder, version: brought.version, source: brought.source, binaries });
}
