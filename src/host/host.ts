import { execa } from 'execa';
import { spawn } from 'node:child_process';
import { chmod, chown, link, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FleetError } from '../kernel/errors.ts';

/** Result of a finished command. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A machine on which files are read and written and commands run. A full disk is FleetError DISK_FULL with the path. */
export interface Host {
  /** Runs argv (no shell); never throws for a non-zero exit. 127 where the program is missing. */
  run(argv: readonly string[], options?: { timeoutMs?: number; detached?: boolean }): Promise<RunResult>;
  /** Text and permission bits; null where there is no such file. */
  read(path: string): Promise<{ content: string; mode: number } | null>;
  /** Writes beside the target, syncs, renames: the old text or the new one, never half of it. */
  write(path: string, content: string, options: FileAttributes): Promise<void>;
  /** Writes and syncs the text beside the target; nobody sees it before `commit`, which needs no more space on the disk. */
  stage(path: string, content: string, options: FileAttributes): Promise<StagedFile>;
  /** Lets go of what staging left beside these files, in this run or in one that was killed. */
  settle(paths: readonly string[]): Promise<void>;
  makeFolder(path: string, options: FileAttributes): Promise<void>;
  /** Removes a file, or a folder with all that is in it; nothing to do where there is none. */
  remove(path: string): Promise<void>;
}

/** Permission bits and owner. */
export interface FileAttributes {
  readonly mode: number;
  readonly uid: number;
  readonly gid: number;
}

/** A file that stands ready to replace its target. Ends with `revert`, or with the host's `settle`. */
export interface StagedFile {
  /** Renames it over its target; the former file stays at hand. */
  commit(): Promise<void>;
  /** Puts the former file (or none) back, or drops what was never committed. */
  revert(): Promise<void>;
}

/** This machine. */
export function localHost(): Host {
  return {
    async run(argv, options = {}) {
      const [program = '', ...args] = argv;
      if (options.detached === true) {
        const child = spawn(program, args, { detached: true, stdio: 'ignore' });
        child.unref();
        return { code: 0, stdout: '', stderr: '' };
      }
      const result = await execa(program, args, { reject: false, timeout: options.timeoutMs ?? 60_000, stdin: 'ignore' });
      const code = result.exitCode ?? (result.failed ? 127 : 0);
      return { code, stdout: result.stdout ?? '', stderr: result.stderr ?? '' };
    },
    async read(path) {
      try {
        const [content, info] = await Promise.all([readFile(path, 'utf8'), stat(path)]);
        return { content, mode: info.mode & 0o7777 };
      } catch (error) {
        if (isMissing(error)) return null;
        throw error;
      }
    },
    async write(path, content, options) {
      const staged = await onDisk(path, () => stage(path, content, options));
      try {
        await staged.commit();
      } catch (error) {
        await staged.revert();
        throw error;
      }
      await settle([path]);
    },
    settle,
    stage: (path, content, options) => onDisk(path, () => stage(path, content, options)),
    async remove(path) {
      await rm(path, { recursive: true, force: true });
    },
    async makeFolder(path, { mode, uid, gid }) {
      await onDisk(path, () => mkdir(path, { recursive: true, mode }));
      await chmod(path, mode);
      await chown(path, uid, gid);
    },
  };
}

async function stage(path: string, content: string, { mode, uid, gid }: FileAttributes): Promise<StagedFile> {
  const [beside, former] = [besideOf(path), formerOf(path)];
  await mkdir(dirname(path), { recursive: true, mode: 0o750 });
  await settle([path]);
  try {
    const file = await open(beside, 'wx', mode);
    try {
      await file.writeFile(content);
      await file.chmod(mode);
      await file.chown(uid, gid);
      await file.sync();
    } finally {
      await file.close();
    }
  } catch (error) {
    await rm(beside, { force: true });
    throw error;
  }
  let isCommitted = false;
  return {
    async commit() {
      await link(path, former).catch(ignoreMissing);
      await rename(beside, path);
      isCommitted = true;
    },
    async revert() {
      if (!isCommitted) await settle([path]);
      else await rename(former, path).catch((error: unknown) => (isMissing(error) ? rm(path, { force: true }) : Promise.reject(error)));
    },
  };
}

async function settle(paths: readonly string[]): Promise<void> {
  await Promise.all(paths.flatMap((path) => [rm(besideOf(path), { force: true }), rm(formerOf(path), { force: true })]));
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
    const isFull = error instanceof Error && 'code' in error && (error.code === 'ENOSPC' || error.code === 'EDQUOT');
    throw isFull ? new FleetError('DISK_FULL', { path }, { cause: error }) : error;
  }
}

function ignoreMissing(error: unknown): void {
  if (!isMissing(error)) throw error;
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
