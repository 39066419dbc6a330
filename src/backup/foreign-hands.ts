import { constants } from 'node:fs';
import { open, readdir, readlink, realpath, rm, writeFile } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';

/**
 * Root's work in folders in which the service user writes: whatever stands there, a link or a pipe in the place of a file or folder
 * included, leads nowhere else.
 */
const SAFE = constants.O_RDONLY | constants.O_NOFOLLOW | constants.O_NONBLOCK;
const ROOTS = { uid: 0, gid: 0 };

/**
 * The bytes of a regular file below a folder; null where there is none, or it is not really there: a link on the way led elsewhere.
 * @param folder is taken as it is, links on the way to it included
 * @param path below that folder
 */
export async function readBelow(folder: string, path: string, { longest }: { longest: number }): Promise<Buffer | null> {
  const file = await open(`${folder}/${path}`, SAFE).catch(ignoreAbsent);
  if (file === undefined) return null;
  try {
    const info = await file.stat();
    // What was opened is asked, not the path once more (proc(5)).
    const place = await readlink(`/proc/self/fd/${file.fd}`);
    // Deleted: its owner has just put a newer one there.
    const isThere = place.replace(/ \(deleted\)$/, '') === `${await realpath(folder)}/${path}`;
    return info.isFile() && info.size <= longest && isThere ? await file.readFile() : null;
  } finally {
    await file.close();
  }
}

/**
 * Gives a folder and all that is in it to a user, once its bytes are on the disk. First all of it becomes root's, from above, so that
 * nobody can exchange anything meanwhile; what is neither file nor folder is removed.
 * @param folder its parent is root's
 */
export async function giveFolder(folder: string, user: { uid: number; gid: number }): Promise<void> {
  const handle = await takeFolder(folder);
  try {
    for (const entry of await readdir(folder, { withFileTypes: true })) {
      const path = `${folder}/${entry.name}`;
      if (entry.isDirectory()) await giveFolder(path, user);
      else if (entry.isFile()) await giveFile(path, user);
      else await rm(path);
    }
    await handle.sync();
    await handle.chmod(0o750);
    await handle.chown(user.uid, user.gid);
  } finally {
    await handle.close();
  }
}

/**
 * Puts a file, which is root's until the folder is given away, into a folder that nobody else may write from then on.
 * @param folder its parent is root's
 */
export async function putInto(folder: string, name: string, content: Buffer): Promise<void> {
  await (await takeFolder(folder)).close();
  await rm(`${folder}/${name}`, { force: true, recursive: true });
  await writeFile(`${folder}/${name}`, content, { flag: 'wx', mode: 0o640 });
}

/** Makes the folder root's alone. */
async function takeFolder(folder: string): Promise<FileHandle> {
  const handle = await open(folder, SAFE | constants.O_DIRECTORY);
  try {
    await handle.chown(ROOTS.uid, ROOTS.gid);
    await handle.chmod(0o700);
    return handle;
  } catch (error) {
    await handle.close();
    throw error;
  }
}

async function giveFile(path: string, { uid, gid }: { uid: number; gid: number }): Promise<void> {
  const file = await open(path, SAFE);
  try {
    // A second name would be that of a file elsewhere.
    if ((await file.stat()).nlink > 1) return await rm(path);
    await file.chown(uid, gid);
    await file.sync();
  } finally {
    await file.close();
  }
}

function ignoreAbsent(error: unknown): FileHandle | undefined {
  // ENXIO: a socket.
  if (error instanceof Error && 'code' in error && ['ENOENT', 'ENOTDIR', 'ELOOP', 'ENXIO'].includes(String(error.code))) return undefined;
  throw error;
}
