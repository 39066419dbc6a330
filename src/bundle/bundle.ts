import { hash } from 'node:crypto';
import { existsSync } from 'node:fs';
import { lstat, mkdtemp, readdir, readlink, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import type { BroughtComponents } from '../components/bring.ts';
import type { ComponentName } from '../components/catalogue.ts';
import { hashFile } from '../components/component-store.ts';
import type { Stored } from '../components/component-store.ts';
import { isDiskFull } from '../kernel/has-code.ts';
import { createRunner } from '../components/run-command.ts';
import { SourceError } from '../components/source-error.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Emit } from '../kernel/events.ts';
import { writeArchive } from './archive.ts';
import { listProject } from './contents.ts';
import type { Item } from './contents.ts';
import { gatherComponent } from './gather.ts';
import { writeTar } from './tar.ts';
import type { TarEntry } from './tar.ts';

/** A component's name with its version and where it came from. */
export interface Bundled {
  readonly name: string;
  readonly version: string;
  readonly source: string;
}

/** What to pack. */
export interface BundleOptions {
  readonly projectRoot: string;
  /** Folder inside the archive: `livekit-fleet-<version>-linux-<architecture>`. */
  readonly name: string;
  /** What MANIFEST.json says besides the components. */
  readonly about: Readonly<Record<string, string>>;
  readonly storeDir: string;
  readonly components: BroughtComponents;
  /** The Node to carry: version and path of the program. */
  readonly node: { readonly version: string; readonly program: string };
  /** Path of the archive. */
  readonly target: string;
  readonly emit: Emit;
  readonly signal: AbortSignal;
}

/** 2020-01-01: the archive shall not depend on when it is made. */
const mtime = 1_577_836_800;

/** A person who waits wants to see that it goes on (bytes). */
const tellEvery = 64 * 1024 * 1024;

/**
 * Packs the project, its run-time packages, Node and the components into one archive, which is the same for the same contents.
 * @throws FleetError BUNDLE_INCOMPLETE, COMPONENT_UNAVAILABLE and those of writeArchive; the signal's reason
 */
export async function makeBundle(options: BundleOptions): Promise<{ size: number; sha256: string; files: number; components: Bundled[] }> {
  const { emit, signal, target, name } = options;
  const scratch = await mkdtemp(join(tmpdir(), 'livekit-fleet-bundle-'));
  try {
    let startedAt = performance.now();
    emit({ kind: 'step-started', id: 'files', code: 'STEP_BUNDLE_FILES' });
    const gathered = await gatherAll(options, scratch);
    const entries = await expand([...listProject(options.projectRoot), ...listNode(options), ...listComponents(gathered)], signal);
    for (const [component, { manifest }] of gathered) replace(entries, `bundle/components/${component}/manifest.json`, normalize(manifest));
    const components = [
      { name: 'node', version: options.node.version, source: 'node' },
      ...gathered.map(([component, { manifest }]) => ({ name: component, version: manifest.version, source: manifest.source })),
    ].toSorted((a, b) => (a.name < b.name ? -1 : 1));
    replace(entries, 'MANIFEST.json', `${JSON.stringify({ name, ...options.about, components }, null, 2)}\n`);
    replace(entries, 'SHA256SUMS', await checksums(entries, signal));
    const bytes = [...entries.values()].reduce((total, entry) => total + (entry.kind === 'file' ? entry.size : 0), 0);
    emit({ kind: 'step-finished', id: 'files', ms: performance.now() - startedAt, detail: `${entries.size}, ${megabytes(bytes)} MB` });

    startedAt = performance.now();
    emit({ kind: 'step-started', id: 'archive', code: 'STEP_BUNDLE_ARCHIVE', params: { path: target } });
    const progress = (done: number): void => emit({ kind: 'step-progress', id: 'archive', detail: `${megabytes(done)} / ${megabytes(bytes)} MB` });
    const written = await writeArchive(target, counted(writeTar(inFolder(name, entries), mtime), progress), signal);
    emit({ kind: 'step-finished', id: 'archive', ms: performance.now() - startedAt, detail: `${megabytes(written.size)} MB` });
    return { ...written, files: entries.size, components };
  } catch (error) {
    throw isDiskFull(error) ? new FleetError('DISK_FULL', { path: scratch }, { cause: error }) : error;
  } finally {
    await rm(scratch, { recursive: true, force: true });
  }
}

async function gatherAll({ components, storeDir, emit, signal }: BundleOptions, scratch: string): Promise<Array<[ComponentName, Stored]>> {
  const progress = (detail: string): void => emit({ kind: 'step-progress', id: 'files', detail });
  const runner = createRunner({ scratch, storeDir: scratch, signal, progress });
  const gathered: Array<[ComponentName, Stored]> = [];
  for (const [component, brought] of Object.entries(components) as Array<[ComponentName, BroughtComponents[ComponentName]]>) {
    if (brought === undefined) continue;
    try {
      gathered.push([component, await gatherComponent(component, brought, { storeDir, scratch, runner })]);
    } catch (error) {
      if (!(error instanceof SourceError)) throw error;
      throw new FleetError('COMPONENT_UNAVAILABLE', { component, tried: error.message }, { cause: error });
    }
  }
  return gathered;
}

function listComponents(gathered: ReadonlyArray<readonly [string, Stored]>): Item[] {
  return gathered.map(([component, { folder }]) => ({ path: `bundle/components/${component}`, from: folder }));
}

/** Node's program with its licence, which lies beside it in every distribution, or in the package that npm links it from. */
function listNode({ projectRoot, node }: BundleOptions): Item[] {
  const places = [join(dirname(node.program), '..'), `${projectRoot}/node_modules/node/node_modules/node-linux-${process.arch}`];
  const licence = places.map((place) => join(place, 'LICENSE')).find((path) => existsSync(path));
  return [
    { path: 'bundle/components/node/bin/node', from: node.program },
    ...(licence === undefined ? [] : [{ path: 'bundle/components/node/LICENSE', from: licence }]),
  ];
}

/** Everything below the items, by path inside the bundle, with the folders that lead there. */
async function expand(items: readonly Item[], signal: AbortSignal): Promise<Map<string, TarEntry>> {
  const entries = new Map<string, TarEntry>();
  const add = async ({ path, from }: Item): Promise<void> => {
    signal.throwIfAborted();
    for (let folder = dirname(path); folder !== '.'; folder = dirname(folder)) entries.set(folder, { kind: 'folder', path: folder });
    const info = await lstat(from);
    if (info.isDirectory()) {
      entries.set(path, { kind: 'folder', path });
      for (const name of await readdir(from)) await add({ path: `${path}/${name}`, from: join(from, name) });
    } else if (info.isSymbolicLink()) {
      entries.set(path, { kind: 'link', path, target: await readlink(from) });
    } else if (info.isFile()) {
      entries.set(path, { kind: 'file', path, mode: (info.mode & 0o111) !== 0 ? 0o755 : 0o644, size: info.size, from });
    }
  };
  for (const item of items) await add(item);
  return entries;
}

function replace(entries: Map<string, TarEntry>, path: string, text: string): void {
  const from = Buffer.from(text);
  entries.set(path, { kind: 'file', path, mode: 0o644, size: from.length, from });
}

/** When files were brought differs between machines; unpacked, they have the archive's time. */
function normalize(manifest: Stored['manifest']): string {
  const files = Object.fromEntries(Object.entries(manifest.files).map(([path, file]) => [path, { ...file, mtimeMs: mtime * 1000 }]));
  return `${JSON.stringify({ ...manifest, files }, null, 2)}\n`;
}

/** In the form that `sha256sum -c` reads. */
async function checksums(entries: ReadonlyMap<string, TarEntry>, signal: AbortSignal): Promise<string> {
  const lines: string[] = [];
  for (const entry of sorted(entries)) {
    signal.throwIfAborted();
    if (entry.kind !== 'file') continue;
    lines.push(`${Buffer.isBuffer(entry.from) ? hash('sha256', entry.from) : await hashFile(String(entry.from), 'sha256')}  ${entry.path}\n`);
  }
  return lines.join('');
}

function* inFolder(folder: string, entries: ReadonlyMap<string, TarEntry>): Generator<TarEntry> {
  yield { kind: 'folder', path: folder };
  for (const entry of sorted(entries)) yield { ...entry, path: `${folder}/${entry.path}` };
}

/** In the order of their bytes; a folder comes before what is in it. */
function sorted(entries: ReadonlyMap<string, TarEntry>): TarEntry[] {
  return [...entries.values()].toSorted((a, b) => Buffer.compare(Buffer.from(a.path), Buffer.from(b.path)));
}

async function* counted(chunks: AsyncIterable<Buffer>, tell: (done: number) => void): AsyncGenerator<Buffer> {
  let [done, told] = [0, 0];
  for await (const chunk of chunks) {
    done += chunk.length;
    if (done - told >= tellEvery) tell((told = done));
    yield chunk;
  }
}

function megabytes(bytes: number): number {
  return Math.round(bytes / 1_000_000);
}
