import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { chmod, cp, lstat, mkdir, mkdtemp, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import type { ComponentName } from './catalogue.ts';
import { SourceError } from './source-error.ts';
import { compareVersions } from './version.ts';

const manifestSchema = z.object({
  version: z.string().regex(/^[\w.+~-]+$/),
  source: z.string(),
  /** Binary name → path inside the folder. */
  binaries: z.record(z.string(), z.string()),
  /** Path inside the folder → sha256 of its content. */
  files: z.record(z.string(), z.string()),
});
/** `manifest.json` of a stored component; written last, so a folder without it is not a component. */
export type Manifest = z.infer<typeof manifestSchema>;

/** A complete component in a folder. */
export interface Stored {
  readonly folder: string;
  readonly manifest: Manifest;
}

/** Complete versions of a component in the store, newest first. */
export async function listStored(storeDir: string, name: ComponentName): Promise<Stored[]> {
  const versions = await readdirOrNone(join(storeDir, name));
  const found = await Promise.all(versions.map((version) => readStored(join(storeDir, name, version))));
  return found.filter((stored) => stored !== null).toSorted((a, b) => compareVersions(b.manifest.version, a.manifest.version));
}

/** The component in this very folder (also the layout of an offline bundle: `<bundle>/<name>`); null where it is not complete. */
export async function readStored(folder: string): Promise<Stored | null> {
  const text = await readFile(join(folder, 'manifest.json'), 'utf8').catch(nullIfMissing);
  if (text === null) return null;
  const parsed = manifestSchema.safeParse(parseJson(text));
  return parsed.success ? { folder, manifest: parsed.data } : null;
}

/** A new folder beside the components, on the same file system, so that the later rename is atomic. Removes those of runs that were killed. */
export async function makeStage(storeDir: string): Promise<string> {
  await mkdir(storeDir, { recursive: true, mode: 0o755 });
  for (const entry of await readdirOrNone(storeDir)) {
    const pid = /^\.stage-(\d+)-/.exec(entry)?.[1];
    if (pid !== undefined && !isAlive(Number(pid))) await rm(join(storeDir, entry), { recursive: true, force: true });
  }
  const stage = await mkdtemp(join(storeDir, `.stage-${process.pid}-`));
  // The service user executes what lies here; mkdtemp makes it 0700.
  await chmod(stage, 0o755);
  return stage;
}

/** Completes a staged component: hashes, manifest, rename to `<store>/<name>/<version>`. */
export async function commitStage(storeDir: string, name: ComponentName, staged: { folder: string } & Omit<Manifest, 'files'>): Promise<Stored> {
  const { folder, version, source, binaries } = staged;
  const manifest: Manifest = { version, source, binaries, files: await hashFiles(folder) };
  await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o644, flush: true });
  const target = join(storeDir, name, version);
  await mkdir(join(storeDir, name), { recursive: true, mode: 0o755 });
  // What lies there is incomplete or does not run: a working one would have been used. Renaming keeps a program that still runs from it alive.
  await rename(target, `${folder}.old`).catch(nullIfMissing);
  await rename(folder, target);
  await rm(`${folder}.old`, { recursive: true, force: true });
  return { folder: target, manifest };
}

/** Copies a bundle's component into a stage and checks every file; throws SourceError where one differs. */
export async function copyBundle(bundle: Stored, stage: string): Promise<void> {
  await cp(bundle.folder, stage, { recursive: true, verbatimSymlinks: true });
  await rm(join(stage, 'manifest.json'));
  const actual = await hashFiles(stage);
  for (const [path, digest] of Object.entries(bundle.manifest.files)) {
    if (actual[path] !== digest) throw new SourceError(`${path} does not have the checksum of the manifest`);
  }
}

/** Hex digest of a file. */
export async function hashFile(path: string, algorithm: 'sha256' | 'sha512'): Promise<string> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

async function hashFiles(folder: string): Promise<Record<string, string>> {
  const files: Record<string, string> = {};
  for (const path of (await readdir(folder, { recursive: true })).toSorted()) {
    if ((await lstat(join(folder, path))).isFile()) files[path] = await hashFile(join(folder, path), 'sha256');
  }
  return files;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function isAlive(pid: number): boolean {
  try {
    return process.kill(pid, 0);
  } catch (error) {
    return error instanceof Error && 'code' in error && error.code === 'EPERM';
  }
}

async function readdirOrNone(folder: string): Promise<string[]> {
  return (await readdir(folder).catch(nullIfMissing)) ?? [];
}

/** For `.catch`: a missing file or folder is null, anything else is thrown. */
export function nullIfMissing(error: unknown): null {
  if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return null;
  throw error;
}
