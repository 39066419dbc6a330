import { execa } from 'execa';
import { spawn } from 'node:child_process';
import { chmod, chown, mkdir, open, readFile, rename, rm, stat } from 'node:fs/promises';
import { dirname } from 'node:path';

/** Result of a finished command. */
export interface RunResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** A machine on which files are read and written and commands run. */
export interface Host {
  /** Runs argv (no shell); never throws for a non-zero exit. 127 where the program is missing. */
  run(argv: readonly string[], options?: { timeoutMs?: number; detached?: boolean }): Promise<RunResult>;
  /** Text and permission bits; null where there is no such file. */
  read(path: string): Promise<{ content: string; mode: number } | null>;
  /** Writes beside the target, syncs, renames: the old text or the new one, never half of it. */
  write(path: string, content: string, options: { mode: number; uid: number; gid: number }): Promise<void>;
  makeFolder(path: string, options: { mode: number; uid: number; gid: number }): Promise<void>;
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
    async write(path, content, { mode, uid, gid }) {
      await mkdir(dirname(path), { recursive: true, mode: 0o750 });
      const beside = `${path}.new`;
      await rm(beside, { force: true });
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
        await rename(beside, path);
      } catch (error) {
        await rm(beside, { force: true });
        throw error;
      }
    },
    async makeFolder(path, { mode, uid, gid }) {
      await mkdir(path, { recursive: true, mode });
      await chmod(path, mode);
      await chown(path, uid, gid);
    },
  };
}

function isMissing(error: unknown): boolean {
  return error instanceof Error && 'code' in error && (error.code === 'ENOENT' || error.code === 'ENOTDIR');
}
