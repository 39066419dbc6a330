import { existsSync, lstatSync, mkdirSync, readdirSync, readlinkSync, rmSync, statSync, statfsSync, symlinkSync, unlinkSync } from 'node:fs';

/** Where memory may be mounted that a restart of the machine clears. */
const MEMORY = ['/run', '/dev/shm'];
/** `f_type` of a tmpfs (statfs(2)). */
const TMPFS = 0x0102_1994;

/**
 * Has each runsv below `folder` keep what it knows of its part in memory, as on systems that boot with runit: it replaces three small files
 * with each change, a dozen while a part starts, and ext4 writes a replaced file to the disk at once. runsv itself makes the folder that
 * its link leads to. Where no memory is mounted, or another user has the name there, it keeps all of it beside the part.
 * Only while no runsv is there. All of it at once: the threads that others wait for may be waiting for the disk.
 */
export function linkSuperviseFolders(folder: string): void {
  const memory = makeMemory(folder);
  for (const { name: part } of readdirSync(folder, { withFileTypes: true }).filter((entry) => entry.isDirectory())) {
    link(`${folder}/${part}`, memory === null ? null : `${memory}/${part}`);
    if (existsSync(`${folder}/${part}/log`)) link(`${folder}/${part}/log`, memory === null ? null : `${memory}/${part}.log`);
  }
}

/** Removes what is kept in memory; runsv makes it anew. */
export function clearSuperviseFolders(folder: string): void {
  if (!existsSync(folder)) return;
  for (const path of memoryPaths(folder)) if (isOurs(path)) rmSync(path, { recursive: true });
}

/** A folder of root's alone, empty or of an earlier supervisor; null where there can be none. */
function makeMemory(folder: string): string | null {
  for (const path of memoryPaths(folder)) {
    try {
      mkdirSync(path, { mode: 0o700 });
      return path;
    } catch {
      if (isOurs(path)) return path;
    }
  }
  return null;
}

/** Named by the folder itself: containers that share such memory may have folders of the same path. */
function memoryPaths(folder: string): string[] {
  const { dev, ino } = statSync(folder);
  return MEMORY.filter((path) => existsSync(path) && statfsSync(path).type === TMPFS).map((path) => `${path}/livekit-fleet-${dev}-${ino}`);
}

function isOurs(path: string): boolean {
  const info = lstatSync(path, { throwIfNoEntry: false });
  return info?.isDirectory() === true && info.uid === process.getuid?.() && (info.mode & 0o077) === 0;
}

/** Where a folder itself stands it stays: an earlier version's, or one that was made without memory. */
function link(home: string, target: string | null): void {
  const path = `${home}/supervise`;
  const info = lstatSync(path, { throwIfNoEntry: false });
  if (info !== undefined && !info.isSymbolicLink()) return;
  if (info !== undefined) {
    if (readlinkSync(path) === target) return;
    unlinkSync(path);
  }
  if (target !== null) symlinkSync(target, path);
}
