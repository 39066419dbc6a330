import { S3mini } from 's3mini';
import * as z from 'zod';
import { FleetError } from '../kernel/errors.ts';
import { parseArchiveName } from './format.ts';
import { newestFirst } from './place.ts';
import type { Place } from './place.ts';

/** How a bucket is reached. */
export interface S3Access {
  /** Without the bucket; empty for AWS. */
  readonly endpoint: string;
  readonly region: string;
  readonly accessKey: string;
  readonly secretKey: string;
}

/** 10,000 of them are the most that an upload may have: 160 GB. At most two are in memory. */
const PART_BYTES = 16 * 1024 * 1024;
/** A part on a slow line. */
const REQUEST_MS = 300_000;
const ATTEMPTS = 4;
const FIRST_PAUSE_MS = 500;
/** Less in so long a time does not come to an end: whoever waits for it would never hear of it. */
const STALL_MS = 60_000;
const STALL_BYTES = 64 * 1024;
/** No upload of an archive goes on for longer; one that began before was killed. */
const LEFT_MS = 24 * 3_600_000;

/** Of ListMultipartUploads (Amazon S3 API): an upload, several, or none. */
const uploadSchema = z
  .object({ Key: z.string(), UploadId: z.string(), Initiated: z.coerce.date() })
  .transform((one) => ({ key: one.Key, id: one.UploadId, beganMs: one.Initiated.getTime() }));
const uploadsSchema = z
  .object({ ListMultipartUploadsResult: z.object({ Upload: z.union([z.array(uploadSchema), uploadSchema.transform((one) => [one])]).default([]) }) })
  .transform((answer) => answer.ListMultipartUploadsResult.Upload);

/**
 * A bucket, or what begins with a prefix there. An archive is uploaded while it is made, part by part; it is there when the upload is
 * completed, and nothing of it before.
 * @param address `s3://bucket/prefix`
 * @param options.now wall clock, ms
 * @param options.stallMs how long a read may stand still
 */
export function s3Place(
  address: string,
  { endpoint, region, accessKey, secretKey }: S3Access,
  { now, stallMs = STALL_MS }: { now: () => number; stallMs?: number },
): Place {
  const [bucket = '', ...words] = address
    .replace(/^s3:\/\//, '')
    .split('/')
    .filter((word) => word !== '');
  const prefix = words.map((word) => `${word}/`).join('');
  const base = endpoint === '' ? `https://s3.${region}.amazonaws.com` : endpoint.replace(/\/+$/, '');
  const name = `s3://${bucket}${prefix === '' ? '' : `/${prefix.slice(0, -1)}`}`;
  if (accessKey === '' || secretKey === '') throw new FleetError('BACKUP_KEYS_MISSING', { place: name }, { exitCode: 2 });
  const access = { accessKeyId: accessKey, secretAccessKey: secretKey, endpoint: `${base}/${bucket}`, region };
  const client = new S3mini({ ...access, requestAbortTimeout: REQUEST_MS });
  const reach = async <T>(work: () => Promise<T>, code: 'BACKUP_PLACE_UNUSABLE' | 'BACKUP_PLACE_UNREADABLE' = 'BACKUP_PLACE_UNUSABLE'): Promise<T> => {
    try {
      return await work();
    } catch (error) {
      throw new FleetError(code, { place: name, reason: reasonOf(error, secretKey) }, { cause: error });
    }
  };

  /** What killed runs of a machine have left is paid for, and seen by nobody. Whoever may only write there cannot look, and leaves it. */
  async function abortLeftovers(machine: string | undefined): Promise<void> {
    const answer: unknown = await client.listMultipartUploads('/', '', 'GET', { prefix }).catch(() => null);
    for (const { key, id, beganMs } of uploadsSchema.safeParse(answer).data ?? []) {
      const isOwn = machine !== undefined && key.startsWith(prefix) && parseArchiveName(key.slice(prefix.length))?.machine === machine;
      if (isOwn && beganMs < now() - LEFT_MS) await client.abortMultipartUpload(key, id).catch(() => undefined);
    }
  }

  async function upload(key: string, chunks: AsyncIterable<Buffer>, signal: AbortSignal): Promise<number> {
    let id: string | null = null;
    let bytes = 0;
    const done: Array<{ partNumber: number; etag: string }> = [];
    try {
      for await (const part of inParts(chunks)) {
        signal.throwIfAborted();
        bytes += part.length;
        if (id === null && part.length < PART_BYTES) {
          await reach(() => retry(() => client.putObject(key, part, 'application/zstd'), signal));
          return bytes;
        }
        id ??= await reach(() => retry(() => client.getMultipartUploadId(key, 'application/zstd'), signal));
        const uploadId: string = id;
        done.push(await reach(() => retry(() => client.uploadPart(key, uploadId, part, done.length + 1), signal)));
      }
      const uploadId = id ?? '';
      await reach(() => retry(() => client.completeMultipartUpload(key, uploadId, done), signal));
      return bytes;
    } catch (error) {
      // What was uploaded would be paid for, and seen by nobody.
      if (id !== null) await client.abortMultipartUpload(key, id).catch(() => undefined);
      throw error;
    }
  }

  return {
    name,
    addressOf: (one) => `${name}/${one}`,
    async list() {
      const found = await reach(() => client.listObjects('/', prefix), 'BACKUP_PLACE_UNREADABLE');
      const kept = (found ?? []).flatMap(({ Key: key, Size: bytes }) => {
        const own = key.startsWith(prefix) ? key.slice(prefix.length) : key;
        const said = parseArchiveName(own);
        return said === null ? [] : [{ name: own, ...said, bytes: Number(bytes) }];
      });
      return kept.toSorted(newestFirst);
    },
    async *read(one) {
      const stalled = new AbortController();
      // The client's own limit would be for the whole of an archive.
      const reader = new S3mini({ ...access, fetch: (url, init) => fetch(url, { ...init, signal: stalled.signal }) });
      let [waitedMs, bytes] = [0, 0];
      const soon = async <T>(work: () => Promise<T>): Promise<T> => {
        const began = performance.now();
        const end = setTimeout(() => stalled.abort(new Error(`${bytes} bytes in ${stallMs / 1_000} s`)), stallMs - waitedMs);
        try {
          return await reach(work, 'BACKUP_PLACE_UNREADABLE');
        } finally {
          clearTimeout(end);
          waitedMs += performance.now() - began;
        }
      };
      try {
        const response = await soon(() => reader.getObjectResponse(`${prefix}${one}`));
        if (response?.body == null) throw new FleetError('BACKUP_NOT_FOUND', { path: `${name}/${one}`, reason: '404' }, { exitCode: 2 });
        const body: AsyncIterable<Uint8Array> = response.body;
        const iterator = body[Symbol.asyncIterator]();
        for (;;) {
          const next = await soon(() => iterator.next());
          if (next.done === true) return;
          bytes += next.value.byteLength;
          if (bytes >= STALL_BYTES) [waitedMs, bytes] = [0, 0];
          yield Buffer.from(next.value.buffer, next.value.byteOffset, next.value.byteLength);
        }
      } finally {
        // Whoever ends early lets go of the connection.
        stalled.abort();
      }
    },
    async write(one, chunks, signal) {
      await abortLeftovers(parseArchiveName(one)?.machine);
      return upload(`${prefix}${one}`, chunks, signal);
    },
    remove: async (one) => void (await reach(() => client.deleteObject(`${prefix}${one}`))),
  };
}

/** All of the same size but the last. */
async function* inParts(chunks: AsyncIterable<Buffer>): AsyncGenerator<Buffer> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    parts.push(chunk);
    bytes += chunk.length;
    while (bytes >= PART_BYTES) {
      const all = Buffer.concat(parts);
      yield all.subarray(0, PART_BYTES);
      parts = [all.subarray(PART_BYTES)];
      bytes -= PART_BYTES;
    }
  }
  if (bytes > 0) yield Buffer.concat(parts);
}

async function retry<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    try {
      return await work();
    } catch (error) {
      signal.throwIfAborted();
      // Refused, rather than not reached.
      const status = error instanceof Error && 'status' in error ? Number(error.status) : 0;
      if (attempt === ATTEMPTS || (status >= 400 && status < 500 && status !== 429)) throw error;
      await new Promise((resolve) => setTimeout(resolve, FIRST_PAUSE_MS * 2 ** attempt));
    }
  }
}

function reasonOf(error: unknown, secret: string): string {
  const cause = error instanceof Error && error.cause instanceof Error ? `: ${error.cause.message}` : '';
  return `${error instanceof Error ? error.message : String(error)}${cause}`.replaceAll(secret, '[redacted]').slice(0, 300);
}
