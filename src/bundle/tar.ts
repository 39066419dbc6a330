import { createReadStream } from 'node:fs';

/**
 * What goes into an archive; `path` is the name inside, with `/`. A file's bytes, `size` of them, come from a file, or are given, all
 * at once or one after the other.
 */
export type TarEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'file'; readonly path: string; readonly mode: number; readonly size: number; readonly from: string | Buffer | AsyncIterable<Buffer> };

const block = 512;
/** 11 octal digits. */
const LARGEST_OCTAL = 0o77777777777;

/**
 * The bytes of a tar archive with these entries in this order. Owner 0, `mtime` (seconds) for all: the same
 * entries give the same bytes, whoever packs them. GNU tar's format, which every tar reads (`info tar`, "Basic Tar Format").
 * @throws Error where a file has not its size
 */
export async function* writeTar(entries: Iterable<TarEntry> | AsyncIterable<TarEntry>, mtime: number): AsyncGenerator<Buffer> {
  for await (const entry of entries) {
    const name = entry.kind === 'folder' ? `${entry.path}/` : entry.path;
    const target = entry.kind === 'link' ? entry.target : '';
    for (const [type, text] of [
      ['K', target],
      ['L', name],
    ] as const) {
      if (Buffer.byteLength(text) <= 100) continue;
      const content = Buffer.from(`${text}\0`);
      yield header({ name: '././@LongLink', type, mode: 0, size: content.length, mtime: 0, target: '' });
      yield* padded(content);
    }
    switch (entry.kind) {
      case 'folder':
        yield header({ name, type: '5', mode: 0o755, size: 0, mtime, target });
        break;
      case 'link':
        yield header({ name, type: '2', mode: 0o777, size: 0, mtime, target });
        break;
      case 'file':
        yield header({ name, type: '0', mode: entry.mode, size: entry.size, mtime, target });
        yield* Buffer.isBuffer(entry.from) ? padded(entry.from) : sized(bytesOf(entry.from), entry);
        break;
    }
  }
  yield Buffer.alloc(2 * block);
}

function header(of: { name: string; type: string; mode: number; size: number; mtime: number; target: string }): Buffer {
  const bytes = Buffer.alloc(block);
  const octal = (value: number, at: number, length: number): void => void bytes.write(value.toString(8).padStart(length - 1, '0'), at, 'latin1');
  bytes.set(Buffer.from(of.name).subarray(0, 100), 0);
  octal(of.mode, 100, 8);
  octal(0, 108, 8);
  octal(0, 116, 8);
  if (of.size <= LARGEST_OCTAL) octal(of.size, 124, 12);
  else {
    // GNU's way for more than 8 GiB: the first bit says that the field is a binary number.
    bytes.writeUInt8(0x80, 124);
    bytes.writeBigUInt64BE(BigInt(of.size), 128);
  }
  octal(of.mtime, 136, 12);
  bytes.write(' '.repeat(8), 148, 'latin1');
  bytes.write(of.type, 156, 'latin1');
  bytes.set(Buffer.from(of.target).subarray(0, 100), 157);
  bytes.write('ustar  \0root', 257, 'latin1');
  bytes.write('root', 297, 'latin1');
  const sum = bytes.reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, 148, 'latin1');
  return bytes;
}

function* padded(content: Buffer): Generator<Buffer> {
  yield content;
  yield padding(content.length);
}

function bytesOf(from: string | AsyncIterable<Buffer>): AsyncIterable<Buffer> {
  return typeof from === 'string' ? (createReadStream(from, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) : from;
}

async function* sized(chunks: AsyncIterable<Buffer>, { path, size }: { path: string; size: number }): AsyncGenerator<Buffer> {
  let done = 0;
  for await (const chunk of chunks) {
    done += chunk.length;
    if (done > size) break;
    yield chunk;
  }
  if (done !== size) throw new Error(`${path} changed while it was packed`);
  yield padding(size);
}

function padding(size: number): Buffer {
  return Buffer.alloc((block - (size % block)) % block);
}
