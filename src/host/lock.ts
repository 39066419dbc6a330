import { mkdirSync, readFileSync, symlinkSync, unlinkSync } from 'node:fs';
import { readlink, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FleetError } from '../kernel/errors.ts';
import { codeOf, hasCode, isUnusable } from '../kernel/has-code.ts';

/**
 * Runs `work` while holding the lock and gives it back in any case. A lock whose process is gone is taken over.
 * The lock is a symbolic link whose target names the holder: made in one act, and without needing space on a full disk.
 * @param command what the holder does, one word
 * @throws FleetError LOCKED naming who holds it; DATA_DIR_UNUSABLE where the lock's folder cannot be made
 */
export async function withLock<T>(path: string, command: string, work: () => Promise<T>): Promise<T> {
  try {
    mkdirSync(dirname(path), { recursive: true, mode: 0o750 });
  } catch (error) {
    if (!isUnusable(error)) throw error;
    throw new FleetError('DATA_DIR_UNUSABLE', { path: dirname(path), reason: codeOf(error) }, { exitCode: 2, cause: error });
  }
  await takeLock(path, `${process.pid} ${startOf(process.pid) ?? '-'} ${command}`);
  try {
    return await work();
  } finally {
    release(path);
  }
}

/** What holds a lock, in a word; null where nobody does. */
export async function holderOf(path: string): Promise<string | null> {
  const held = await readlink(path).catch(() => null);
  const [pid = '', started = '', command = ''] = held?.split(' ') ?? [];
  return held !== null && startOf(Number(pid)) === started ? command : null;
}

/** Not `rmSync`: some versions of Node 24 leave a link that leads nowhere. */
function release(path: string): void {
  try {
    unlinkSync(path);
  } catch (error) {
    if (!hasCode(error, 'ENOENT')) throw error;
  }
}

async function takeLock(path: string, own: string): Promise<void> {
  for (;;) {
    try {
      symlinkSync(own, path);
      return;
    } catch (error) {
      if (!hasCode(error, 'EEXIST')) throw error;
    }
    const held = await readlink(path).catch(() => null);
    if (held !== null) await removeStale(path, held);
  }
}

/** Removes a lock whose process is gone; another one that was taken meanwhile is put back. */
async function removeStale(path: string, held: string): Promise<void> {
  const [pid = '', started = '', command = ''] = held.split(' ');
  if (startOf(Number(pid)) === started) throw new FleetError('LOCKED', { command, pid: Number(pid), path }, { exitCode: 3 });
  const aside = `${path}.${process.pid}`;
  const isMine = await rename(path, aside).then(
    () => true,
    () => false,
  );
  if (!isMine) return;
  const moved = await readlink(aside);
  if (moved === held) await rm(aside);
  else await rename(aside, path);
}

/** Start time of a process in clock ticks since boot (field 22 of /proc/PID/stat); null where it is gone. */
function startOf(pid: number): string | null {
  try {
    const text = readFileSync(`/proc/${pid}/stat`, 'utf8');
    const [state, ...rest] = text.slice(text.lastIndexOf(')') + 2).split(' ');
    // A process that has ended, and that nobody has asked for its result yet, holds nothing.
    return state === 'Z' || state === 'X' ? null : (rest[18] ?? null);
  } catch {
    return null;
  }
}
