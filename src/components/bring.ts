import { execa } from 'execa';
import { constants } from 'node:fs';
import { access, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { basename, dirname } from 'node:path';
import { FleetError } from '../kernel/errors.ts';
import type { Emit } from '../kernel/events.ts';
import { catalogue } from './catalogue.ts';
import type { Component, ComponentName } from './catalogue.ts';
import { obtain } from './obtain.ts';
import type { Tools } from './obtain.ts';

/** A component that is ready to run. */
export interface Brought {
  readonly version: string;
  /** `path`, `store`, or the kind of the source it came from. */
  readonly source: string;
  /** Absolute path of each program by name. */
  readonly binaries: Readonly<Record<string, string>>;
}

/** What was asked for, by name. */
export type BroughtComponents = Partial<Record<ComponentName, Brought>>;

/** What bringing needs. */
export interface BringOptions {
  readonly names: readonly ComponentName[];
  readonly storeDir: string;
  readonly overrides: Readonly<Partial<Record<ComponentName, string>>>;
  /** Folder with a copy of a store (the offline bundle); null without. */
  readonly bundleDir: string | null;
  readonly mirror: string | null;
  readonly goProxy: string | null;
  readonly emit: Emit;
  readonly signal: AbortSignal;
}

/**
 * Finds or brings components side by side: given path, store, bundle, then each source of the catalogue.
 * @throws FleetError COMPONENT_UNAVAILABLE with every source tried and why it failed
 */
export async function bringComponents(options: BringOptions): Promise<BroughtComponents> {
  const known = catalogue(process.arch === 'arm64' ? 'arm64' : 'amd64', options.mirror);
  let queue: Promise<unknown> = Promise.resolve();
  const tools: Tools = {
    run: (argv, env = {}) => execa(argv[0] ?? '', argv.slice(1), { env, cancelSignal: options.signal, stdin: 'ignore', all: true, forceKillAfterDelay: 2000 }),
    // apt and Go builds each want the whole machine (or its lock): one after the other.
    inTurn: (work) => {
      const next = queue.then(work);
      queue = next.catch(() => undefined);
      return next;
    },
    goProxy: options.goProxy,
    signal: options.signal,
  };
  const entries = await Promise.all(options.names.map(async (name) => [name, await bringOne(name, known[name], { options, tools })] as const));
  return Object.fromEntries(entries);
}

async function bringOne(name: ComponentName, component: Component, context: { options: BringOptions; tools: Tools }): Promise<Brought> {
  const { options, tools } = context;
  const given = options.overrides[name];
  if (given !== undefined) return useGiven(name, component, given);
  for (const dir of [options.storeDir, options.bundleDir]) {
    const stored = dir === null ? null : await findStored(`${dir}/${name}`);
    if (stored !== null) return stored;
  }
  const tried: string[] = [];
  for (const source of component.sources) {
    const began = performance.now();
    options.emit({ kind: 'step-progress', id: name, detail: describe(source) });
    await mkdir(`${options.storeDir}/${name}`, { recursive: true, mode: 0o755 });
    const temp = await mkdtemp(`${options.storeDir}/${name}/.new-`);
    try {
      const { version } = await obtain(source, { into: temp, tools });
      await writeFile(`${temp}/manifest.json`, JSON.stringify({ version, source: source.kind, programs: component.programs }));
      await tools.run(['chmod', '-R', 'a+rX', temp]);
      const home = `${options.storeDir}/${name}/${version}`;
      await rm(home, { recursive: true, force: true });
      await rename(temp, home);
      const stored = await findStored(dirname(home));
      if (stored === null) throw new Error('not in the store');
      options.emit({ kind: 'step-finished', id: name, ms: performance.now() - began, detail: `${version} (${source.kind})` });
      return stored;
    } catch (error) {
      options.signal.throwIfAborted();
      const reason = error instanceof Error ? (error.message.split('\n')[0] ?? '') : String(error);
      tried.push(`${describe(source)}: ${reason}`);
      options.emit({ kind: 'step-failed', id: name, ms: performance.now() - began, detail: `${describe(source)}: ${reason}` });
    } finally {
      await rm(temp, { recursive: true, force: true });
    }
  }
  throw new FleetError('COMPONENT_UNAVAILABLE', { component: name, tried: tried.join('; ') });
}

/** The newest complete version in a store folder; a half-brought one has no manifest under its final name. */
async function findStored(folder: string): Promise<Brought | null> {
  const versions = (await readdir(folder).catch(() => []))
    .filter((one) => !one.startsWith('.'))
    .toSorted((a, b) => b.localeCompare(a, 'en', { numeric: true }));
  for (const version of versions) {
    const text = await readFile(`${folder}/${version}/manifest.json`, 'utf8').catch(() => null);
    if (text === null) continue;
    const manifest = JSON.parse(text) as { version: string; programs: string[] };
    return {
      version: manifest.version,
      source: 'store',
      binaries: Object.fromEntries(manifest.programs.map((one) => [one, `${folder}/${version}/bin/${one}`])),
    };
  }
  return null;
}

async function useGiven(name: ComponentName, component: Component, path: string): Promise<Brought> {
  try {
    await access(path, constants.X_OK);
  } catch (error) {
    throw new FleetError('COMPONENT_UNAVAILABLE', { component: name, tried: `${path}: not executable` }, { cause: error, exitCode: 2 });
  }
  return {
    version: basename(path),
    source: 'path',
    binaries: Object.fromEntries(component.programs.map((one, index) => [one, index === 0 ? path : `${dirname(path)}/${one}`])),
  };
}

function describe(source: Component['sources'][number]): string {
  switch (source.kind) {
    case 'release':
      return source.url;
    case 'wheel':
      return `PyPI ${source.packageName}==${source.version}`;
    case 'go':
      return `go install ${source.module}`;
    case 'debian':
      return `apt ${source.packages.join(' ')}`;
  }
}
