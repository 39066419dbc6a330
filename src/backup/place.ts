import { createReadStream, createWriteStream, existsSync } from 'node:fs';
import { mkdir, readdir, rename, rm, stat } from 'node:fs/promises';
import { dirname, resolve } from 'node:path';
import { pipeline } from 'node:stream/promises';
import { FleetError } from '../kernel/errors.ts';
import { codeOf, hasCode, isDiskFull } from '../kernel/has-code.ts';
import { parseArchiveName } from './format.ts';

/** An archive that is kept somewhere. */
export interface Kept {
  readonly name: string;
  readonly machine: string;
  readonly madeAt: string;
  readonly isEncrypted: boolean;
  readonly bytes: number;
}

/** Where archives are kept. */
export interface Place {
  /** As a person writes it: a path, or `s3://…`. */
  readonly name: string;
  /** The archives, the newest first. Other files are not seen. @throws FleetError BACKUP_PLACE_UNREADABLE */
  list(): Promise<Kept[]>;
  /** How a person names an archive that is kept here. */
  addressOf(name: string): string;
  /** @throws FleetError BACKUP_NOT_FOUND, BACKUP_PLACE_UNREADABLE, while it is read */
  read(name: string): AsyncIterable<Buffer>;
  /** All of it, or nothing is there; gives its size. @throws FleetError DISK_FULL, BACKUP_PLACE_UNUSABLE, BACKUP_FOLDER_MISSING; the signal's reason */
  write(name: string, chunks: AsyncIterable<Buffer>, signal: AbortSignal): Promise<number>;
  /** @throws FleetError BACKUP_PLACE_UNUSABLE */
  remove(name: string): Promise<void>;
}

const CHUNK_BYTES = 1 << 20;

/** A folder that only root reads; made where it is missing, but not those that lead to it: the path may be mistyped, the disk not mounted. */
export function folderPlace(folder: string): Place {
  const addressOf = (name: string): string => `${folder}/${name}`;
  return {
    name: folder,
    addressOf,
    async list() {
      const names = await readdir(folder).catch((error: unknown) => (isMissing(error) ? [] : Promise.reject(unreadable(folder, error))));
      const kept = await Promise.all(
        names.map(async (name) => {
          const said = parseArchiveName(name);
          const info = said === null ? null : await stat(addressOf(name)).catch(() => null);
          return said === null || info?.isFile() !== true ? [] : [{ name, ...said, bytes: info.size }];
        }),
      );
      return kept.flat().toSorted(newestFirst);
    },
    read: (name) => readFileChunks(addressOf(name)),
    async write(name, chunks, signal) {
      const beside = addressOf(`.${name}.part-${process.pid}`);
      try {
        await makeFolder(resolve(folder));
        await removeLeftovers(folder, name);
        await pipeline(chunks, createWriteStream(beside, { flags: 'wx', mode: 0o600, flush: true, highWaterMark: CHUNK_BYTES }), { signal });
        const { size } = await stat(beside);
        await rename(beside, addressOf(name));
        return size;
      } catch (error) {
        await rm(beside, { force: true }).catch(() => undefined);
        signal.throwIfAborted();
        throw explain(error, folder);
      }
    },
    remove: (name) => rm(addressOf(name), { force: true }).catch((error: unknown) => Promise.reject(unusable(folder, error))),
  };
}

async function makeFolder(folder: string): Promise<void> {
  try {
    // A link that leads nowhere is not taken for a folder that is missing.
    if ((await stat(folder).catch((error: unknown) => (isMissing(error) ? null : Promise.reject(error)))) === null) await mkdir(folder, { mode: 0o700 });
  } catch (error) {
    const above = dirname(folder);
    if (isMissing(error) && !existsSync(above)) throw new FleetError('BACKUP_FOLDER_MISSING', { place: folder, folder: above }, { exitCode: 2, cause: error });
    throw isDiskFull(error) ? error : unusable(folder, error);
  }
}

/** A file's bytes, a piece at a time; it is opened when the first one is wanted. @throws FleetError BACKUP_PLACE_UNREADABLE */
export async function* readFileChunks(path: string): AsyncIterable<Buffer> {
  try {
    yield* createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>;
  } catch (error) {
    throw isMissing(error) ? error : unreadable(path, error);
  }
}

/** For sorting. */
export function newestFirst(a: Kept, b: Kept): number {
  return a.madeAt === b.madeAt ? (a.name < b.name ? -1 : 1) : a.madeAt < b.madeAt ? 1 : -1;
}

/** What killed runs of this machine have left: other machines, whose processes nobody here knows, may be writing theirs. */
async function removeLeftovers(folder: string, own: string): Promise<void> {
  for (const name of await readdir(folder)) {
    const [, archive = '', pid = ''] = /^\.(livekit-fleet-.*)\.part-(\d+)$/.exec(name) ?? [];
    const machine = parseArchiveName(archive)?.machine;
    if (machine !== undefined && machine === parseArchiveName(own)?.machine && !existsSync(`/proc/${pid}`)) await rm(`${folder}/${name}`, { force: true });
  }
}

/** What a person can do about a failed write; anything else stays as it is. */
function explain(error: unknown, folder: string): unknown {
  if (!(error instanceof Error && 'code' in error && 'path' in error && String(error.path).startsWith(folder)) && !hasCode(error, 'ENOSPC', 'EDQUOT', 'EFBIG'))
    return error;
  return isDiskFull(error) ? new FleetError('DISK_FULL', { path: folder }, { cause: error }) : unusable(folder, error);
}

function unusable(folder: string, error: unknown): FleetError {
  return new FleetError('BACKUP_PLACE_UNUSABLE', { place: folder, reason: codeOf(error) }, { cause: error });
}

function unreadable(folder: string, error: unknown): FleetError {
  return new FleetError('BACKUP_PLACE_UNREADABLE', { place: folder, reason: codeOf(error) }, { cause: error });
}

function isMissing(error: unknown): boolean {
  return hasCode(error, 'ENOENT');
}
