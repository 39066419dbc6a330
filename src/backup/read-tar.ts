const BLOCK = 512;

/** A regular file of a tar archive. Its bytes must be read to their end before the next one is asked for. */
export interface TarMember {
  readonly name: string;
  readonly size: number;
  bytes(): AsyncGenerator<Buffer>;
}

/** What makes an archive unreadable, in words. */
export class DamagedTar extends Error {}

/**
 * The members of a tar archive of regular files with names of up to 100 bytes, or GNU's longer ones (`info tar`, "Basic Tar Format"),
 * as they come. @throws DamagedTar for anything else, also where it ends too early
 */
export async function* readTar(chunks: AsyncIterable<Buffer>): AsyncGenerator<TarMember> {
  const iterator = chunks[Symbol.asyncIterator]();
  // Whoever ends early lets go of what is read.
  await using _ = { [Symbol.asyncDispose]: async () => void (await iterator.return?.(undefined)) };
  const source = pieces(iterator);
  let longName: string | null = null;
  for (;;) {
    const header = await source.exactly(BLOCK);
    if (header.every((byte) => byte === 0)) break;
    checkSum(header);
    const size = sizeOf(header);
    const type = String.fromCharCode(header[156] ?? 0);
    if (type === 'L') {
      if (size > 4096) throw new DamagedTar('a name is too long');
      longName = textOf(await source.exactly(padded(size)));
      continue;
    }
    if (type !== '0' && type !== '\0') throw new DamagedTar(`a member of type ${JSON.stringify(type)}`);
    const name = longName ?? textOf(header.subarray(0, 100));
    longName = null;
    let isRead = false;
    yield {
      name,
      size,
      async *bytes() {
        yield* source.upTo(size);
        await source.exactly(padded(size) - size);
        isRead = true;
      },
    };
    if (!isRead) throw new Error(`${name} was not read to its end`);
  }
  // The second empty block, and whatever fills up the record; reading on shows damage that comes after.
  for await (const rest of source.all()) if (rest.some((byte) => byte !== 0)) throw new DamagedTar('something follows its end');
}

interface Pieces {
  exactly(length: number): Promise<Buffer>;
  upTo(length: number): AsyncGenerator<Buffer>;
  all(): AsyncGenerator<Buffer>;
}

function pieces(iterator: AsyncIterator<Buffer>): Pieces {
  let rest: Buffer = Buffer.alloc(0);
  /** Something, if there is anything left. */
  async function more(): Promise<boolean> {
    while (rest.length === 0) {
      const next = await iterator.next();
      if (next.done === true) return false;
      rest = next.value;
    }
    return true;
  }
  async function* upTo(length: number): AsyncGenerator<Buffer> {
    for (let left = length; left > 0;) {
      if (!(await more())) throw new DamagedTar('it ends too early');
      const part = rest.subarray(0, left);
      rest = rest.subarray(part.length);
      left -= part.length;
      yield part;
    }
  }
  return {
    upTo,
    async exactly(length) {
      const parts: Buffer[] = [];
      for await (const part of upTo(length)) parts.push(part);
      return parts.length === 1 ? (parts[0] ?? Buffer.alloc(0)) : Buffer.concat(parts);
    },
    async *all() {
      while (await more()) {
        yield rest;
        rest = Buffer.alloc(0);
      }
    },
  };
}

function padded(size: number): number {
  return Math.ceil(size / BLOCK) * BLOCK;
}

function textOf(bytes: Buffer): string {
  const end = bytes.indexOf(0);
  return bytes.subarray(0, end === -1 ? bytes.length : end).toString('utf8');
}

function sizeOf(header: Buffer): number {
  if (((header[124] ?? 0) & 0x80) !== 0) {
    const size = header.readBigUInt64BE(128);
    if (size > BigInt(Number.MAX_SAFE_INTEGER)) throw new DamagedTar('a size is too large');
    return Number(size);
  }
  const text = textOf(header.subarray(124, 136)).trim();
  if (!/^[0-7]{1,12}$/.test(text)) throw new DamagedTar('a size is no number');
  return Number.parseInt(text, 8);
}

function checkSum(header: Buffer): void {
  const written = Number.parseInt(textOf(header.subarray(148, 156)).trim(), 8);
  let sum = 0;
  for (const [at, byte] of header.entries()) sum += at >= 148 && at < 156 ? 32 : byte;
  if (sum !== written) throw new DamagedTar('a header’s checksum is wrong');
}
