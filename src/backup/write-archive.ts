import { createHash } from 'node:crypto';
import { createReadStream } from 'node:fs';
import { constants, createZstdCompress } from 'node:zlib';
import type { ZstdCompress } from 'node:zlib';
import { writeTar } from '../bundle/tar.ts';
import type { TarEntry } from '../bundle/tar.ts';
import { HEAD, MANIFEST, SEAL } from './format.ts';
import type { Head, Manifest } from './format.ts';

/** A file that goes into an archive: bytes that are at hand, or a path, or a stream of exactly `bytes` bytes. */
export interface Member {
  readonly name: string;
  readonly bytes: number;
  readonly from: Buffer | string | AsyncIterable<Buffer>;
}

/** Faster than disks, and a third of the size of JSON. */
const LEVEL = 1;
const CHUNK_BYTES = 1 << 20;
/** Only root reads what is unpacked by hand. */
const MODE = 0o600;

/**
 * The bytes of an archive: a tar, compressed with zstd, which any `tar` unpacks. The head comes first, then the members as they come,
 * then the manifest with their checksums, taken on the way. Nothing but a piece of it is ever in memory.
 * @param options.members is asked for the next one when the one before is written
 * @param options.counts is asked when all are written
 * @param options.onBytes is told how many bytes of members went by
 */
export function writeArchive(options: {
  head: Head;
  members: AsyncIterable<Member>;
  counts: () => Manifest['counts'];
  onBytes: (bytes: number) => void;
}): AsyncIterable<Buffer> {
  const seconds = Math.floor(Date.parse(options.head.madeAt) / 1000);
  const compress = createZstdCompress({
    chunkSize: CHUNK_BYTES,
    params: { [constants.ZSTD_c_compressionLevel]: LEVEL, [constants.ZSTD_c_checksumFlag]: 1 },
  });
  // Whoever reads it hears of it; where nobody has begun to, what kept them from it is told.
  compress.on('error', () => undefined);
  feed(compress, writeTar(entries(options), seconds)).catch((error: unknown) => compress.destroy(error instanceof Error ? error : new Error(String(error))));
  return compress;
}

/**
 * One piece is compressed while the next one is made. The end comes apart from the last piece: Node would write an empty zstd frame
 * behind the real one otherwise, and nobody would notice that it is cut off.
 */
async function feed(compress: ZstdCompress, chunks: AsyncIterable<Buffer>): Promise<void> {
  let written = Promise.resolve();
  for await (const chunk of chunks) {
    await written;
    written = new Promise((resolve, reject) => compress.write(chunk, (error) => (error ? reject(error) : resolve())));
    // Heard at the next turn.
    written.catch(() => undefined);
  }
  await written;
  compress.end();
}

async function* entries({ head, members, counts, onBytes }: Parameters<typeof writeArchive>[0]): AsyncGenerator<TarEntry> {
  const written: Manifest['members'] = [];
  const entry = ({ name, bytes, from }: Member): TarEntry => {
    const hash = createHash('sha256');
    const pass = async function* (): AsyncGenerator<Buffer> {
      for await (const chunk of typeof from === 'string' ? fileChunks(from) : Buffer.isBuffer(from) ? [from] : from) {
        hash.update(chunk);
        onBytes(chunk.length);
        yield chunk;
      }
      written.push({ name, bytes, sha256: hash.digest('hex') });
    };
    return { kind: 'file', path: name, mode: MODE, size: bytes, from: pass() };
  };
  yield entry(text(HEAD, `${JSON.stringify(head, null, 2)}\n`));
  for await (const member of members) yield entry(member);
  const manifest = `${JSON.stringify({ id: head.id, members: written, counts: counts() } satisfies Manifest, null, 2)}\n`;
  yield entry(text(MANIFEST, manifest));
  yield entry(text(SEAL, `${createHash('sha256').update(manifest).digest('hex')}\n`));
}

function fileChunks(path: string): AsyncIterable<Buffer> {
  return createReadStream(path, { highWaterMark: CHUNK_BYTES }) as AsyncIterable<Buffer>;
}

function text(name: string, content: string): Member {
  return { name, bytes: Buffer.byteLength(content), from: Buffer.from(content) };
}
