import { Readable } from 'node:stream';
import { createZstdDecompress } from 'node:zlib';
import { FleetError } from '../kernel/errors.ts';
import { AGE_MAGIC, decrypt } from './encryption.ts';
import { DamagedTar } from './read-tar.ts';
import { damaged } from './unpack.ts';

/** The first bytes of every zstd frame (RFC 8878). */
const ZSTD_MAGIC = Buffer.from([0x28, 0xb5, 0x2f, 0xfd]);
const CHUNK_BYTES = 1 << 20;

/**
 * The tar inside an archive. Whatever is wrong with what comes is BACKUP_DAMAGED.
 * @param source where it came from, for what is said about it
 * @param askPassphrase is asked once where the archive is encrypted
 * @throws FleetError BACKUP_FOREIGN_FILE, BACKUP_DAMAGED, BACKUP_PASSPHRASE_WRONG, what `askPassphrase` throws
 */
export async function* openArchive(source: string, bytes: AsyncIterable<Buffer>, askPassphrase: () => Promise<string>): AsyncGenerator<Buffer> {
  const iterator = bytes[Symbol.asyncIterator]();
  const start = await firstOf(iterator);
  const isEncrypted = isAge(source, start);
  const all = behind(start, iterator);
  const compressed = isEncrypted ? decrypt(source, all, await askPassphrase()) : all;
  const decompress = createZstdDecompress({ chunkSize: CHUNK_BYTES });
  const input = Readable.from(compressed, { objectMode: false, highWaterMark: 2 * CHUNK_BYTES });
  input.on('error', (error) => decompress.destroy(error));
  try {
    yield* input.pipe(decompress) as AsyncIterable<Buffer>;
  } catch (error) {
    throw isOfZlib(error) ? damaged(source, error.message, error) : error;
  } finally {
    input.destroy();
  }
}

/** Turns what a reader of the tar complains about into BACKUP_DAMAGED. */
export async function explainDamage<T>(source: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    throw error instanceof DamagedTar ? damaged(source, error.message, error) : error;
  }
}

/** zlib's errors have the library's own codes. */
function isOfZlib(error: unknown): error is Error {
  return error instanceof Error && 'code' in error && /^(Z_|ZSTD_|ERR_ZLIB)/.test(String(error.code));
}

/** Looks at the first bytes alone. @throws FleetError BACKUP_FOREIGN_FILE */
export async function checkKind(source: string, bytes: AsyncIterable<Buffer>): Promise<void> {
  const iterator = bytes[Symbol.asyncIterator]();
  try {
    isAge(source, await firstOf(iterator));
  } finally {
    await iterator.return?.();
  }
}

/** Whether it is encrypted. @throws FleetError BACKUP_FOREIGN_FILE */
function isAge(source: string, start: Buffer): boolean {
  if (start.subarray(0, AGE_MAGIC.length).equals(AGE_MAGIC)) return true;
  if (!start.subarray(0, ZSTD_MAGIC.length).equals(ZSTD_MAGIC)) throw new FleetError('BACKUP_FOREIGN_FILE', { path: source }, { exitCode: 2 });
  return false;
}

/** What tells kinds apart, and what came with it; less where there is no more. */
async function firstOf(iterator: AsyncIterator<Buffer>): Promise<Buffer> {
  let start: Buffer = Buffer.alloc(0);
  while (start.length < AGE_MAGIC.length) {
    const next = await iterator.next();
    if (next.done === true) break;
    start = Buffer.concat([start, next.value]);
  }
  return start;
}

async function* behind(start: Buffer, iterator: AsyncIterator<Buffer>): AsyncGenerator<Buffer> {
  yield start;
  yield* { [Symbol.asyncIterator]: () => iterator };
}
