import { access, constants, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Component } from './catalogue.ts';
import { nullIfMissing } from './component-store.ts';
import { lastLine } from './run-command.ts';
import type { RunCommand } from './run-command.ts';
import type { SourceResult } from './source-context.ts';
import { SourceError } from './source-error.ts';
import { findVersion } from './version.ts';

/** What a check runs with. */
export interface CheckOptions {
  readonly run: RunCommand;
  readonly signal: AbortSignal;
}

/**
 * Makes sure that every binary may be executed and that the main one answers. Gives the version it tells,
 * or null where the component cannot tell one. Throws SourceError with the reason.
 */
export async function checkBinaries(component: Component, binaries: Readonly<Record<string, string>>, { run, signal }: CheckOptions): Promise<string | null> {
  await checkExecutable(component, binaries);
  const main = binaries[component.binaries[0] ?? ''];
  if (component.versionArgs === null || main === undefined) return null;
  const answer = await run([main, ...component.versionArgs], { signal, timeoutMs: 10_000 });
  const version = answer.code === 0 ? findVersion(answer.stdout) : null;
  if (version === null) throw new SourceError(`${main} does not tell its version: ${lastLine(answer)}`);
  return version;
}

/** Makes sure that every binary is there and may be executed; throws SourceError with the reason. */
export async function checkExecutable(component: Component, binaries: Readonly<Record<string, string>>): Promise<void> {
  for (const name of component.binaries) {
    const path = binaries[name];
    if (path === undefined) throw new SourceError(`${name} is missing`);
    await access(path, constants.X_OK).catch((error: unknown) => {
      throw new SourceError(`${path} is not executable`, { cause: error });
    });
  }
}

/**
 * The component at a path that a person gave: the main binary (the others are expected beside it; one that is not
 * there is left out, so a redis-server without redis-cli is fine) or a folder with all of them.
 */
export async function useGivenPath(component: Component, path: string, options: CheckOptions): Promise<SourceResult> {
  const info = await stat(path).catch(nullIfMissing);
  if (info === null) throw new SourceError(`${path} does not exist`);
  const [main = '', ...others] = component.binaries;
  const folder = info.isDirectory() ? path : dirname(path);
  const binaries: Record<string, string> = { [main]: info.isDirectory() ? join(path, main) : path };
  for (const name of others) if ((await stat(join(folder, name)).catch(nullIfMissing)) !== null) binaries[name] = join(folder, name);
  const needed = component.versionArgs === null ? component.binaries : Object.keys(binaries);
  return { version: (await checkBinaries({ ...component, binaries: needed }, binaries, options)) ?? 'unknown', binaries };
}
