import { link, mkdir, readFile, rm, writeFile } from 'node:fs/promises';
import { readFileSync } from 'node:fs';
import { dirname } from 'node:path';
import { FleetError } from '../kernel/errors.ts';

interface Holder {
  readonly pid: number;
  readonly started: string;
  readonly command: string;
}

/** Runs `work` while holding the lock and gives it back in any case; LOCKED as `takeLock`. */
export async function withLock<T>(path: string, command: string, work: () => Promise<T>): Promise<T> {
  const release = await takeLock(path, command);
  try {
    return await work();
  } finally {
    await release();
  }
}

/**
 * Takes the installation's lock, or throws LOCKED naming who holds it. A lock whose process is gone is taken over.
 * @returns the function that gives it back
 */
async function takeLock(path: string, command: string): Promise<() => Promise<void>> {
  await mkdir(dirname(path), { recursive: true, mode: 0o750 });
  const own: Holder = { pid: process.pid, started: startOf(process.pid) ?? '', command };
  const beside = `${path}.${process.pid}`;
  await writeFile(beside, JSON.stringify(own), { mode: 0o600 });
  try {
    for (let attempt = 0; ; attempt++) {
      try {
        await link(beside, path);
        return () => rm(path, { force: true });
      } catch (error) {
        if (!(error instanceof Error && 'code' in error && error.code === 'EEXIST')) throw error;
        const holder = JSON.parse(await readFile(path, 'utf8').catch(() => '{"pid":0}')) as Holder;
        if (attempt > 2 || (holder.pid > 0 && startOf(holder.pid) === holder.started)) {
          throw new FleetError('LOCKED', { command: holder.command, pid: holder.pid, path }, { exitCode: 3 });
        }
        await rm(path, { force: true });
      }
    }
  } finally {
    await rm(beside, { force: true });
  }
}

/** Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); null where it is gone. */
function startOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    return text.slice(text.lastIndexOf(')') + 2).split(' ')[19] ?? null;
  } catch {
    return null;
  }
}
