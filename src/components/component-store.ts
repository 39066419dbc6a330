import { createHash } from 'node:crypto';
import { createReadStream, existsSync, lstatSync, readFileSync, readdirSync } from 'node:fs';
import type { Stats } from 'node:fs';
import { chmod, cp, lstat, mkdir, mkdtemp, open, readFile, readdir, rename, rm, writeFile } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { pipeline } from 'node:stream/promises';
import * as z from 'zod';
import { FleetError } from '../kernel/errors.ts';
import { codeOf, isUnusable } from '../kernel/has-code.ts';
import { parseJson } from '../kernel/parse-json.ts';
import type { ComponentName } from './catalogue.ts';
import { SourceError } from './source-error.ts';
import { compareVersions } from './version.ts';

const manifestSchema = z.object({
  version: z.string().regex(/^[\w.+~-]+$/),
  source: z.string(),
  /** Binary name → path inside the folder. */
  binaries: z.record(z.string(), z.string()),
  /** Path inside the folder → the file as it was brought; `mtimeMs` in whole milliseconds. */
  files: z.record(z.string(), z.object({ sha256: z.string(), size: z.number(), mtimeMs: z.number() })),
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
  const found = await Promise.all(readdirOrNone(join(storeDir, name)).map((version) => readStored(join(storeDir, name, version))));
  return found.filter((stored) => stored !== null).toSorted((a, b) => compareVersions(b.manifest.version, a.manifest.version));
}

/** The component in this very folder (also the layout of an offline bundle: `<bundle>/<name>`); null where it is not complete. */
export async function readStored(folder: string): Promise<Stored | null> {
  // Like `look`: every deploy asks, and promises of `node:fs` take ten times as long.
  const path = join(folder, 'manifest.json');
  if (!existsSync(path)) return null;
  const manifest = parseJson(manifestSchema, readFileSync(path, 'utf8'));
  return manifest === null ? null : { folder, manifest };
}

/**
 * The first file that is not what the manifest says; null where all are. Size and time of change are enough; only a file
 * with another time (a copied store) is hashed, so this is quick enough for every run.
 */
export async function findDamage({ folder, manifest }: Stored): Promise<string | null> {
  const bad = await Promise.all(
    Object.entries(manifest.files).map(async ([path, known]) => {
      const place = join(folder, path);
      const info = look(place);
      if (info?.size !== known.size) return place;
      return Math.floor(info.mtimeMs) === known.mtimeMs || (await hashFile(place, 'sha256')) === known.sha256 ? null : place;
    }),
  );
  return bad.find((place) => place !== null) ?? null;
}

/** What stands there; null where nothing does. Synchronous, which takes a fifth of the time: every deploy looks at a hundred files. */
function look(place: string): Stats | null {
  try {
    return lstatSync(place, { throwIfNoEntry: false }) ?? null;
  } catch (error) {
    return nullIfMissing(error);
  }
}

/** A new folder beside the components, on the same file system, so that the later rename is atomic. Removes those of runs that were killed. */
export async function makeStage(storeDir: string): Promise<string> {
  await makeReadableFolder(storeDir);
  for (const entry of readdirOrNone(storeDir)) {
    const [, pid, startedAt] = /^\.stage-(\d+)-(\d+)-/.exec(entry) ?? [];
    const isDead = pid === undefined || (await startOf(pid)) !== startedAt;
    if (entry.startsWith('.stage-') && isDead) await rm(join(storeDir, entry), { recursive: true, force: true });
  }
  return mkdtemp(join(storeDir, `.stage-${process.pid}-${await startOf('self')}-`));
}

/** Completes a staged component: rights, hashes, manifest, rename to `<store>/<name>/<version>`. */
export async function commitStage(storeDir: string, name: ComponentName, staged: { folder: string } & Omit<Manifest, 'files'>): Promise<Stored> {
  const { folder, version, source, binaries } = staged;
  const manifest: Manifest = { version, source, binaries, files: await settleFiles(folder) };
  await writeFile(join(folder, 'manifest.json'), `${JSON.stringify(manifest, null, 2)}\n`, { mode: 0o644, flush: true });
  const target = join(storeDir, name, version);
  await makeReadableFolder(storeDir, dirname(target));
  const other = await readStored(target);
  // Another run beside this one was quicker, and its programs may be in use.
  if (other !== null && (await findDamage(other)) === null) return other;
  // What lies there is incomplete: a whole one would have been used. Renaming keeps a program that still runs from it alive.
  await rename(target, `${folder}.old`).catch(nullIfMissing);
  await rename(folder, target);
  await rm(`${folder}.old`, { recursive: true, force: true });
  return { folder: target, manifest };
}

/** Copies a bundle's component into a stage and checks every file; throws SourceError where one differs. */
export async function copyBundle(bundle: Stored, stage: string): Promise<void> {
  await cp(bundle.folder, stage, { recursive: true, verbatimSymlinks: true });
  await rm(join(stage, 'manifest.json'));
  for (const [path, known] of Object.entries(bundle.manifest.files)) {
    if ((await hashFile(join(stage, path), 'sha256')) !== known.sha256) throw new SourceError(`${path} does not have the checksum of the manifest`);
  }
}

/** Hex digest of a file. */
export async function hashFile(path: string, algorithm: 'sha256' | 'sha512'): Promise<string> {
  const hash = createHash(algorithm);
  await pipeline(createReadStream(path), hash);
  return hash.digest('hex');
}

/** Makes everything readable for the service user, whatever the umask, writes it through to the disk, and describes the files. */
async function settleFiles(folder: string): Promise<Manifest['files']> {
  const files: Manifest['files'] = {};
  await chmod(folder, 0o755);
  for (const path of (await readdir(folder, { recursive: true })).toSorted()) {
    const place = join(folder, path);
    const info = await lstat(place);
    if (info.isSymbolicLink()) continue;
    const isRunnable = info.isDirectory() || (info.mode & 0o111) !== 0;
    await chmod(place, (info.mode & 0o7777) | (isRunnable ? 0o555 : 0o444));
    if (!info.isFile()) continue;
    await flush(place);
    files[path] = { sha256: await hashFile(place, 'sha256'), size: info.size, mtimeMs: Math.floor(info.mtimeMs) };
  }
  return files;
}

/** So that a power cut after the rename leaves no empty program behind. */
async function flush(path: string): Promise<void> {
  const file = await open(path);
  try {
    await file.sync();
  } finally {
    await file.close();
  }
}

/**
 * A folder of the store that the service user may enter, whatever the umask; one that is there stays as it is.
 * @throws FleetError COMPONENT_DIR_UNUSABLE
 */
export async function makeReadableFolder(storeDir: string, path = storeDir): Promise<void> {
  const first = await mkdir(path, { recursive: true }).catch((error: unknown) => {
    if (!isUnusable(error)) throw error;
    throw new FleetError('COMPONENT_DIR_UNUSABLE', { path: storeDir, reason: codeOf(error) }, { exitCode: 2, cause: error });
  });
  if (first !== undefined) for (let made = path; made.length >= first.length; made = dirname(made)) await chmod(made, 0o755);
}

/** When a process started (`starttime` of proc_pid_stat(5)), which tells it from a later one with the same pid; undefined where it has ended. */
async function startOf(pid: string): Promise<string | undefined> {
  const text = await readFile(`/proc/${pid}/stat`, 'utf8').catch(nullIfMissing);
  const [state, ...rest] = text?.slice(text.lastIndexOf(')') + 2).split(' ') ?? [];
  return state === 'Z' || state === 'X' ? undefined : rest[18];
}

function readdirOrNone(folder: string): string[] {
  try {
    return existsSync(folder) ? readdirSync(folder) : [];
  } catch (error) {
    return nullIfMissing(error) ?? [];
  }
}

/** For `.catch`: a missing file or folder is null, anything else is thrown. */
export function nullIfMissing(error: unknown): null {
  if (error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR')) return null;
  throw error;
}
