import { access, constants, stat } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import type { Component } from './catalogue.ts';
import { nullIfMissing } from './component-store.ts';
import { lastLine, runCommand } from './run-command.ts';
import type { SourceResult } from './source-context.ts';
import { SourceError } from './source-error.ts';

/** These programs answer within milliseconds, on a slow and busy machine within a second or two. */
const answerTimeoutMs = 10_000;

/**
 * Makes sure that every binary may be executed and that the main one is the program. Gives the version it tells,
 * or null where the component cannot tell one. Throws SourceError with the reason.
 */
export async function checkBinaries(component: Component, binaries: Readonly<Record<string, string>>, signal: AbortSignal): Promise<string | null> {
  for (const name of component.binaries) {
    const path = binaries[name];
    if (path === undefined) throw new SourceError(`${name} is missing`);
    await access(path, constants.X_OK).catch((error: unknown) => {
      throw new SourceError(`${path} is not executable`, { cause: error });
    });
  }
  const main = binaries[component.binaries[0] ?? ''];
  if (component.version === null || main === undefined) return null;
  const answer = await runCommand([main, ...component.version.args], { signal, timeoutMs: answerTimeoutMs });
  const version = component.version.answer.exec(answer.stdout)?.[1];
  if (answer.code === 0 && version !== undefined) return version;
  throw new SourceError(`${[main, ...component.version.args].join(' ')} does not answer as ${component.binaries[0]} does: ${lastLine(answer)}`);
}

/**
 * The component at a path that a person gave: the main binary (the others are expected beside it; one that is not
 * there is left out, so a redis-server without redis-cli is fine) or a folder with all of them.
 */
export async function useGivenPath(component: Component, path: string, signal: AbortSignal): Promise<SourceResult> {
  const info = await stat(path).catch(nullIfMissing);
  if (info === null) throw new SourceError(`${path} does not exist`);
  const [main = '', ...others] = component.binaries;
  const folder = info.isDirectory() ? path : dirname(path);
  const binaries: Record<string, string> = { [main]: info.isDirectory() ? join(path, main) : path };
  for (const name of others) if ((await stat(join(folder, name)).catch(nullIfMissing)) !== null) binaries[name] = join(folder, name);
  const needed = component.version === null ? component.binaries : Object.keys(binaries);
  return { version: (await checkBinaries({ ...component, binaries: needed }, binaries, signal)) ?? 'unknown', binaries };
}
