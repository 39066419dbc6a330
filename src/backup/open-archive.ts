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
  const { first, all } = await peek(bytes, AGE_MAGIC.length);
  const isEncrypted = first.equals(AGE_MAGIC);
  if (!isEncrypted && !first.subarray(0, ZSTD_MAGIC.length).equals(ZSTD_MAGIC)) throw new FleetError('BACKUP_FOREIGN_FILE', { path: source }, { exitCode: 2 });
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

/** The first bytes, fewer where there are not so many, and all of them once more. */
async function peek(bytes: AsyncIterable<Buffer>, length: number): Promise<{ first: Buffer; all: AsyncGenerator<Buffer> }> {
  const iterator = bytes[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  while (start.length < length) {
    const next = await iterator.next();
    if (next.done === true) break;
    start = Buffer.concat([start, next.value]);
  }
  return {
    first: start.subarray(0, length),
    all: (async function* () {
      yield start;
      yield* { [Symbol.asyncIterator]: () => iterator };
    })(),
  };
}
