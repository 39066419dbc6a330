import { createCipheriv, createDecipheriv, createHmac, hkdfSync, randomBytes, scrypt, timingSafeEqual } from 'node:crypto';
import { promisify } from 'node:util';
import { FleetError } from '../kernel/errors.ts';
import { damaged } from './unpack.ts';

/**
 * The age format, version 1, for a passphrase (c2sp.org/age): scrypt wraps a file key, the payload is in chunks of 64 KiB of
 * ChaCha20-Poly1305, each with its number and whether it is the last (STREAM). `age -d` opens what is written here. The library of
 * that name for JavaScript does 27 MB/s; the kernel of this is OpenSSL.
 */
export const AGE_MAGIC = Buffer.from('age-encryption.org/v1\n');

const CHUNK = 64 * 1024;
const TAG = 16;
const NONCE = 16;
/** age's own choice: about a second, 256 MiB. */
const WORK_FACTOR = 18;
/** A header that asks for more would keep this machine busy for minutes. */
const HIGHEST_WORK_FACTOR = 22;
const LONGEST_HEADER = 4096;
const CIPHER = 'chacha20-poly1305';

const derive = promisify<Buffer, Buffer, number, { N: number; r: number; p: number; maxmem: number }, Buffer>(scrypt);

/** What comes, encrypted. @param workFactor of scrypt, as a power of two */
export async function* encrypt(chunks: AsyncIterable<Buffer>, passphrase: string, workFactor = WORK_FACTOR): AsyncGenerator<Buffer> {
  const [fileKey, salt, nonce] = [randomBytes(16), randomBytes(16), randomBytes(16)];
  const wrapped = seal(await wrapKey(passphrase, salt, workFactor), Buffer.alloc(12), fileKey);
  const head = `${AGE_MAGIC.toString()}-> scrypt ${base64(salt)} ${workFactor}\n${base64(wrapped)}\n---`;
  yield Buffer.from(`${head} ${base64(headerMac(fileKey, head))}\n`);
  yield nonce;
  const key = expand(fileKey, nonce, 'payload');
  let number = 0;
  for await (const { chunk, isLast } of inChunks(chunks, CHUNK)) {
    yield seal(key, chunkNonce(number, isLast), chunk);
    number += 1;
  }
}

/**
 * What was encrypted.
 * @throws FleetError BACKUP_PASSPHRASE_WRONG, BACKUP_DAMAGED
 */
export async function* decrypt(source: string, chunks: AsyncIterable<Buffer>, passphrase: string): AsyncGenerator<Buffer> {
  const { header, nonce, rest } = await readHeader(source, chunks);
  const found = /^age-encryption\.org\/v1\n-> scrypt (\S{22}) (\d{1,2})\n(\S{43})\n--- (\S{43})\n$/.exec(header);
  if (found === null) throw damaged(source, 'the age header is not one for a passphrase');
  const [salt = Buffer.alloc(0), wrapped = Buffer.alloc(0), mac = Buffer.alloc(0)] = [found[1], found[3], found[4]].map((text) =>
    Buffer.from(text ?? '', 'base64'),
  );
  const workFactor = Number(found[2]);
  if (workFactor < 1 || workFactor > HIGHEST_WORK_FACTOR) throw damaged(source, `the age header asks for a work factor of ${workFactor}`);
  const fileKey = open(await wrapKey(passphrase, salt, workFactor), Buffer.alloc(12), wrapped);
  if (fileKey === null) throw new FleetError('BACKUP_PASSPHRASE_WRONG', { path: source }, { exitCode: 2 });
  const expected = headerMac(fileKey, header.slice(0, header.lastIndexOf('---') + 3));
  if (mac.length !== expected.length || !timingSafeEqual(expected, mac)) throw damaged(source, 'the age header');
  const key = expand(fileKey, nonce, 'payload');
  let number = 0;
  for await (const { chunk, isLast } of inChunks(rest, CHUNK + TAG)) {
    const text = open(key, chunkNonce(number, isLast), chunk);
    if (text === null || (text.length === 0 && number > 0)) throw damaged(source, 'an encrypted part of it, or its end');
    number += 1;
    yield text;
  }
}

/** The text of the header, the payload's nonce, and what follows. */
async function readHeader(source: string, chunks: AsyncIterable<Buffer>): Promise<{ header: string; nonce: Buffer; rest: AsyncGenerator<Buffer> }> {
  const iterator = chunks[Symbol.asyncIterator]();
  let start: Buffer = Buffer.alloc(0);
  for (;;) {
    const mac = start.indexOf('\n---');
    const end = mac === -1 ? -1 : start.indexOf('\n', mac + 1) + 1;
    if (end > 0 && start.length >= end + NONCE) {
      const rest = start.subarray(end + NONCE);
      return {
        header: start.subarray(0, end).toString('latin1'),
        nonce: start.subarray(end, end + NONCE),
        rest: (async function* () {
          yield rest;
          yield* { [Symbol.asyncIterator]: () => iterator };
        })(),
      };
    }
    const next = start.length > LONGEST_HEADER && end <= 0 ? { done: true as const } : await iterator.next();
    if (next.done === true) throw damaged(source, 'the age header');
    start = Buffer.concat([start, next.value]);
  }
}

/** Pieces of exactly this size but for the last, which is known for it; an empty one where there is nothing at all. */
async function* inChunks(bytes: AsyncIterable<Buffer>, size: number): AsyncGenerator<{ chunk: Buffer; isLast: boolean }> {
  let rest: Buffer = Buffer.alloc(0);
  for await (const piece of bytes) {
    rest = rest.length === 0 ? piece : Buffer.concat([rest, piece]);
    let at = 0;
    // What may be the last piece waits for what comes.
    for (; rest.length - at > size; at += size) yield { chunk: rest.subarray(at, at + size), isLast: false };
    rest = rest.subarray(at);
  }
  yield { chunk: rest, isLast: true };
}

/** STREAM's nonce: the chunk's number in 11 bytes, then whether it is the last. */
function chunkNonce(number: number, isLast: boolean): Buffer {
  const nonce = Buffer.alloc(12);
  nonce.writeUIntBE(number, 5, 6);
  nonce[11] = isLast ? 1 : 0;
  return nonce;
}

function seal(key: Buffer, nonce: Buffer, text: Buffer): Buffer {
  const cipher = createCipheriv(CIPHER, key, nonce, { authTagLength: TAG });
  return Buffer.concat([cipher.update(text), cipher.final(), cipher.getAuthTag()]);
}

/** Null where it was changed, or the key is another. */
function open(key: Buffer, nonce: Buffer, sealed: Buffer): Buffer | null {
  if (sealed.length < TAG) return null;
  const cipher = createDecipheriv(CIPHER, key, nonce, { authTagLength: TAG });
  cipher.setAuthTag(sealed.subarray(-TAG));
  const text = cipher.update(sealed.subarray(0, -TAG));
  try {
    return Buffer.concat([text, cipher.final()]);
  } catch {
    // OpenSSL has no other way to say it.
    return null;
  }
}

function wrapKey(passphrase: string, salt: Buffer, workFactor: number): Promise<Buffer> {
  const N = 2 ** workFactor;
  return derive(Buffer.from(passphrase), Buffer.concat([Buffer.from('age-encryption.org/v1/scrypt'), salt]), 32, { N, r: 8, p: 1, maxmem: 128 * 8 * N * 2 });
}

function expand(fileKey: Buffer, salt: Buffer, use: 'header' | 'payload'): Buffer {
  return Buffer.from(hkdfSync('sha256', fileKey, salt, use, 32));
}

function headerMac(fileKey: Buffer, head: string): Buffer {
  return createHmac('sha256', expand(fileKey, Buffer.alloc(0), 'header'))
    .update(head)
    .digest();
}

/** Without padding, as age writes it. */
function base64(bytes: Buffer): string {
  return bytes.toString('base64').replaceAll('=', '');
}
