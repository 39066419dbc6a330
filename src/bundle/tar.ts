import { createReadStream } from 'node:fs';

/** What goes into an archive; `path` is the name inside, with `/`. A file's bytes come from a file of `size` bytes, or are given. */
export type TarEntry =
  | { readonly kind: 'folder'; readonly path: string }
  | { readonly kind: 'link'; readonly path: string; readonly target: string }
  | { readonly kind: 'file'; readonly path: string; readonly isRunnable: boolean; readonly size: number; readonly from: string | Buffer };

const block = 512;

/**
 * The bytes of a tar archive with these entries in this order. Owner 0, `mtime` (seconds) for all, rights 755 or 644: the same
 * entries give the same bytes, whoever packs them. GNU tar's format, which every tar reads (`info tar`, "Basic Tar Format").
 * @throws Error where a file no longer has its size
 */
export async function* writeTar(entries: Iterable<TarEntry>, mtime: number): AsyncGenerator<Buffer> {
  for (const entry of entries) {
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
        yield header({ name, type: '0', mode: entry.isRunnable ? 0o755 : 0o644, size: entry.size, mtime, target });
        yield* typeof entry.from === 'string' ? readPadded(entry.from, entry.size) : padded(entry.from);
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
  octal(of.size, 124, 12);
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

async function* readPadded(path: string, size: number): AsyncGenerator<Buffer> {
  let done = 0;
  for await (const chunk of createReadStream(path, { highWaterMark: 1 << 20 }) as AsyncIterable<Buffer>) {
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
