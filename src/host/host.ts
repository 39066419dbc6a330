import { spawn } from 'node:child_process';
import {
  chmodSync,
  chownSync,
  closeSync,
  constants,
  copyFile,
  existsSync,
  fchmodSync,
  fchownSync,
  fstatSync,
  fsync,
  linkSync,
  lstatSync,
  mkdirSync,
  openSync,
  readFileSync,
  readdirSync,
  renameSync,
  rmSync,
  unlinkSync,
  writeFileSync,
} from 'node:fs';
import { readdir, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { promisify } from 'node:util';
import { FleetError } from '../kernel/errors.ts';
import { hasCode, isDiskFull } from '../kernel/has-code.ts';

/** Result of a finished command. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A machine on which files are read and written and commands run. A full disk is FleetError DISK_FULL with the path. */
export interface Host {
  /**
   * Runs argv (no shell); never throws for a non-zero exit. 127 where the program is missing. What is `detached` has a session of its
   * own, only the variables of `env`, and is not waited for.
   */
  run(argv: readonly string[], options?: { timeoutMs?: number } | { detached: true; env: Readonly<Record<string, string>> }): Promise<RunResult>;
  /**
   * Text and permission bits of a regular file; null where there is none (a pipe or a folder is none, and a link only with `followLinks`).
   * With `isBinary` each byte is a character.
   */
  read(path: string, options?: { followLinks?: boolean; isBinary?: boolean }): Promise<{ content: string; mode: number } | null>;
  /** Writes beside the target, syncs, renames: the old text or the new one, never half of it. */
  write(path: string, content: string, options: FileAttributes): Promise<void>;
  /** Adds to a file; one that is longer than `longest` bytes is first set aside as `.1`. Nothing to do where its folder is gone. */
  append(path: string, text: string, options: FileAttributes & { longest: number }): Promise<void>;
  /**
   * Writes the text beside the target; nobody sees it before `commit`, which needs no more space on the disk. What is to replace
   * another file is on the disk itself then, so that a power cut leaves one or the other; of what is new, `settled` tells.
   */
  stage(path: string, content: Content, options: FileAttributes): Promise<StagedFile>;
  /** Lets go of what staging left beside these files, in this run or in one that was killed. */
  settle(paths: readonly string[]): Promise<void>;
  /** Names in a folder; empty where there is no such folder. */
  list(path: string): Promise<string[]>;
  makeFolder(path: string, options: FileAttributes): Promise<void>;
  /** Gives a file or folder another name on the same disk; nothing to do where there is none. */
  move(from: string, to: string): Promise<void>;
  /** Removes a file, or a folder with all that is in it; nothing to do where there is none. Of a mount point only what is in it. */
  remove(path: string): Promise<void>;
}

/** A text, or the path of a file with all that it holds. */
export type Content = string | { readonly copyOf: string };

/** Permission bits and owner. */
export interface FileAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A file that stands ready to replace its target. Ends with `revert`, or with the host's `settle`. */
export interface StagedFile {
  /** Brings the text to the disk itself, which takes a hundred times as long as to write it, and lets go of the file; before `settle`. */
  settled(): Promise<void>;
  /** Renames it over its target; the former file stays at hand. */
  commit(): Promise<void>;
  /** Puts the former file (or none) back, or drops what was never committed. */
  revert(): Promise<void>;
}

const toDisk = promisify(fsync);
/** As `node:fs/promises` does it, which takes 1 ms to load. */
const copyAside = promisify(copyFile);

/** The largest file of ours, the business service's program, is a tenth of this. */
const MAX_READ_BYTES = 16 * 1024 * 1024;

/** This machine. */
export function localHost(): Host {
  return {
    async run(argv, options = {}) {
      const [program = '', ...args] = argv;
      if ('detached' in options) {
        const child = spawn(program, args, { detached: true, env: options.env, stdio: 'ignore' });
        child.unref();
        return { code: 0, stdout: '', stderr: '' };
      }
      // A deploy that brings nothing runs no command: 20 ms for nothing.
      const { execa } = await import('execa');
      const result = await execa(program, args, {
        reject: false,
        timeout: options.timeoutMs ?? 60_000,
        stdin: 'ignore',
        // Ctrl-C in a terminal is for us: what we have begun is undone, or ends in order.
        detached: true,
        cleanup: false,
      });
      const code = result.exitCode ?? (result.failed ? 127 : 0);
      return { code, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
    },
    read,
    async write(path, content, options) {
      const staged = await onDisk(path, () => stage(path, content, options));
      try {
        await staged.settled();
        await staged.commit();
      } catch (error) {
        await staged.revert();
        throw error;
      }
      await settle([path]);
    },
    append: (path, text, options) => onDisk(path, () => append(path, text, options)),
    settle,
    stage: (path, content, options) => onDisk(path, () => stage(path, content, options)),
    remove,
    move: async (from, to) => void (await rename(from, to).catch(ignoreMissing)),
    list,
    async makeFolder(path, { mode, uid, gid }) {
      await onDisk(path, async () => mkdirSync(path, { recursive: true, mode }));
      chmodSync(path, mode);
      chownSync(path, uid, gid);
    },
  };
}

/**
 * The service user may write some of the folders: whatever lies there must neither lead elsewhere nor make root wait.
 * Here and below the calls that only ask or tell the kernel are synchronous: they take a tenth of the time, and a deploy makes hundreds.
 */
async function read(path: string, { followLinks = false, isBinary = false } = {}): Promise<{ content: string; mode: number } | null> {
  let file: number | null = null;
  try {
    // An exception takes longer than this question.
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return null;
    file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK | (followLinks ? 0 : constants.O_NOFOLLOW));
    const info = fstatSync(file);
    if (!info.isFile()) return null;
    if (info.size > MAX_READ_BYTES) throw new FleetError('FILE_TOO_LARGE', { path, limit: MAX_READ_BYTES });
    return { content: readFileSync(file, isBinary ? 'latin1' : 'utf8'), mode: info.mode & 0o7777 };
  } catch (error) {
    if (isMissing(error) || hasCode(error, 'ELOOP') || hasCode(error, 'ENXIO')) return null;
    throw error;
  } finally {
    if (file !== null) closeSync(file);
  }
}

async function append(path: string, text: string, { mode, uid, gid, longest }: FileAttributes & { longest: number }): Promise<void> {
  if (!existsSync(dirname(path))) return;
  if ((lstatSync(path, { throwIfNoEntry: false })?.size ?? 0) > longest) renameSync(path, `${path}.1`);
  const file = openSync(path, constants.O_WRONLY | constants.O_APPEND | constants.O_CREAT | constants.O_NOFOLLOW, mode);
  try {
    writeFileSync(file, text);
    fchownSync(file, uid, gid);
  } finally {
    closeSync(file);
  }
}

async function stage(path: string, content: Content, { mode, uid, gid }: FileAttributes): Promise<StagedFile> {
  const [beside, former] = [besideOf(path), formerOf(path)];
  if (!existsSync(dirname(path))) mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  drop(beside);
  drop(former);
  const standing = lstatSync(path, { throwIfNoEntry: false });
  if (standing?.isDirectory() === true) throw new FleetError('FOLDER_IN_THE_WAY', { path });
  const written = typeof content === 'string' ? openSync(beside, 'wx', mode) : await openCopy(content.copyOf, beside);
  let file: number;
  try {
    if (typeof content === 'string') writeFileSync(written, content);
    fchmodSync(written, mode);
    fchownSync(written, uid, gid);
    // The kernel starts no program that somebody still has open for writing (ETXTBSY), and the disk may take its time.
    file = openSync(beside, constants.O_RDONLY | constants.O_NONBLOCK | constants.O_NOFOLLOW);
  } catch (error) {
    rmSync(beside, { force: true });
    throw error;
  } finally {
    closeSync(written);
  }
  let flushed: Promise<void> | null = null;
  let isCommitted = false;
  const staged: StagedFile = {
    settled: () => onDisk(path, () => (flushed ??= flush(file))),
    async commit() {
      if (standing !== undefined) unlessMissing(() => linkSync(path, former));
      renameSync(beside, path);
      isCommitted = true;
    },
    async revert() {
      if (flushed === null) closeSync(file);
      flushed ??= Promise.resolve();
      if (!isCommitted) await settle([path]);
      else if (!unlessMissing(() => renameSync(former, path))) rmSync(path, { force: true });
    },
  };
  if (standing !== undefined) {
    try {
      await staged.settled();
    } catch (error) {
      await staged.revert();
      throw error;
    }
  }
  return staged;
}

/** Copies a file without its bytes coming here, to where none stands, while this thread goes on. */
async function openCopy(from: string, to: string): Promise<number> {
  await copyAside(from, to, constants.COPYFILE_EXCL);
  return openSync(to, constants.O_WRONLY | constants.O_NOFOLLOW);
}

/** Waits until a file is on the disk itself, and closes it. */
async function flush(file: number): Promise<void> {
  try {
    await toDisk(file);
  } finally {
    closeSync(file);
  }
}

async function list(path: string): Promise<string[]> {
  try {
    return readdirSync(path);
  } catch (error) {
    return ignoreMissing(error) ?? [];
  }
}

async function remove(path: string): Promise<void> {
  // Mostly there is none, and what removes folders takes 1 ms to load.
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  try {
    await rm(path, { recursive: true, force: true });
  } catch (error) {
    // It is a mount point (rmdir(2)), or one is somewhere below.
    if (!hasCode(error, 'EBUSY')) throw error;
    for (const name of await readdir(path)) await remove(`${path}/${name}`);
  }
}

async function settle(paths: readonly string[]): Promise<void> {
  for (const path of paths) {
    drop(besideOf(path));
    drop(formerOf(path));
  }
}

/** A folder is left alone: while root empties it, the service user could make it lead elsewhere. */
function drop(path: string): void {
  if (lstatSync(path, { throwIfNoEntry: false }) === undefined) return;
  try {
    unlinkSync(path);
  } catch (error) {
    throw hasCode(error, 'EISDIR') ? new FleetError('FOLDER_IN_THE_WAY', { path }, { cause: error }) : error;
  }
}

function besideOf(path: string): string {
  return `${path}.new`;
}

function formerOf(path: string): string {
  return `${path}.former`;
}

async function onDisk<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw isDiskFull(error) ? new FleetError('DISK_FULL', { path }, { cause: error }) : error;
  }
}

/** True where `work` found what it needs. */
function unlessMissing(work: () => void): boolean {
  try {
    work();
    return true;
  } catch (error) {
    ignoreMissing(error);
    return false;
  }
}

function ignoreMissing(error: unknown): undefined {
  if (!isMissing(error)) throw error;
}

function isMissing(error: unknown): boolean {
  return hasCode(error, 'ENOENT', 'ENOTDIR');
}
