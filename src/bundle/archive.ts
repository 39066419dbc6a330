import { createHash } from 'node:crypto';
import { createWriteStream, existsSync } from 'node:fs';
import { access, constants, readdir, rename, rm, stat } from 'node:fs/promises';
import { basename, dirname, join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { createGzip } from 'node:zlib';
import { isDiskFull } from '../kernel/has-code.ts';
import { FleetError } from '../kernel/errors.ts';

/**
 * Writes chunks, compressed with gzip, beside `path` and renames when all is on the disk; nothing stays of a run that failed
 * or was interrupted, and what a killed one left is removed.
 * @throws FleetError DISK_FULL, OUTPUT_UNWRITABLE; the signal's reason
 */
export async function writeArchive(path: string, chunks: AsyncIterable<Buffer>, signal: AbortSignal): Promise<{ size: number; sha256: string }> {
  const beside = `${besidePrefix(path)}${process.pid}`;
  const hash = createHash('sha256');
  try {
    await removeLeftovers(path);
    const hashed = async function* (compressed: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
      for await (const chunk of compressed) {
        hash.update(chunk);
        yield chunk;
      }
    };
    await pipeline(Readable.from(chunks, { objectMode: false }), createGzip({ level: 6 }), hashed, createWriteStream(beside, { flags: 'wx', flush: true }), {
      signal,
    });
    const { size } = await stat(beside);
    signal.throwIfAborted();
    await rename(beside, path);
    return { size, sha256: hash.digest('hex') };
  } catch (error) {
    await rm(beside, { force: true }).catch(ignoreUnwritable);
    signal.throwIfAborted();
    throw explainWriting(error, path);
  }
}

/** @throws FleetError OUTPUT_EXISTS, OUTPUT_UNWRITABLE where the archive could not be put there anyway */
export async function checkTarget(path: string, isForced: boolean): Promise<void> {
  const folder = await stat(dirname(path)).catch((error: unknown) => Promise.reject(explainWriting(error, path)));
  if (!folder.isDirectory()) throw new FleetError('OUTPUT_UNWRITABLE', { path, reason: 'ENOTDIR' });
  await access(dirname(path), constants.W_OK).catch((error: unknown) => Promise.reject(explainWriting(error, path)));
  const former = await stat(path).catch(() => null);
  if (former?.isDirectory() === true) throw new FleetError('OUTPUT_UNWRITABLE', { path, reason: 'EISDIR' });
  if (former !== null && !isForced) throw new FleetError('OUTPUT_EXISTS', { path }, { exitCode: 2 });
}

function besidePrefix(path: string): string {
  return join(dirname(path), `.${basename(path)}.part-`);
}

async function removeLeftovers(path: string): Promise<void> {
  const prefix = basename(besidePrefix(path));
  for (const name of await readdir(dirname(path))) {
    if (name.startsWith(prefix) && !existsSync(`/proc/${name.slice(prefix.length)}`)) await rm(join(dirname(path), name), { force: true });
  }
}

/** What a person can do about a failed write; anything else, such as a file that cannot be read, stays as it is. */
function explainWriting(error: unknown, path: string): unknown {
  if (error instanceof Error && 'path' in error) {
    const place = String(error.path);
    if (place !== path && place !== dirname(path) && !place.startsWith(besidePrefix(path))) return error;
  }
  if (isDiskFull(error)) return new FleetError('DISK_FULL', { path: dirname(path) }, { cause: error });
  return isUnwritable(error) ? new FleetError('OUTPUT_UNWRITABLE', { path, reason: error.code }, { cause: error }) : error;
}

function ignoreUnwritable(error: unknown): void {
  if (!isUnwritable(error)) throw error;
}

function isUnwritable(error: unknown): error is Error & { code: string } {
  const codes = ['EACCES', 'EPERM', 'EROFS', 'ENOENT', 'ENOTDIR', 'EISDIR', 'EFBIG', 'ENAMETOOLONG', 'EIO'];
  return error instanceof Error && 'code' in error && typeof error.code === 'string' && codes.includes(error.code);
}
