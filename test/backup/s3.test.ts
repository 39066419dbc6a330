import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { buffer } from 'node:stream/consumers';
import { S3mini } from 's3mini';
import { afterAll, beforeAll, describe, expect, it, onTestFinished } from 'vitest';
import { folderPlace } from '../../src/backup/place.ts';
import type { Place } from '../../src/backup/place.ts';
import { s3Place } from '../../src/backup/s3-place.ts';
import type { S3Access } from '../../src/backup/s3-place.ts';
import { bringGoProgram } from '../e2e/go-program.ts';
import { freePorts, until } from '../e2e/installation.ts';
import { scratchFolder } from './archives.ts';

const signal = new AbortController().signal;
const clock = { now: Date.now };
const name = (day: number, machine = 'm1'): string => `livekit-fleet-${machine}-2026010${day}T000000Z.tar.zst`;
async function* chunksOf(bytes: Buffer, size = 100_000): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}
async function* broken(bytes: Buffer): AsyncGenerator<Buffer> {
  yield* chunksOf(bytes);
  throw new Error('the source broke');
}

/** The places where archives are kept: a folder, and a bucket of a real server of the S3 protocol. */
describe.each(['a folder', 'a bucket'])('%s', (kind) => {
  let place: Place;
  let server: ChildProcess | null = null;
  const access = { endpoint: '', region: 'eu-central-1', accessKey: 'key', secretKey: 'a-secret-of-S3' };
  let bucket: S3Access;

  beforeAll(async () => {
    if (kind === 'a folder') {
      place = folderPlace(`${await scratchFolder()}/kept`);
      return;
    }
    const program = await bringGoProgram('github.com/johannesboyne/gofakes3/cmd/gofakes3', '1.2.0');
    const [port = 0] = await freePorts(1);
    const endpoint = `http://127.0.0.1:${port}`;
    server = spawn(program, ['-backend', 'memory', '-host', `127.0.0.1:${port}`, '-initialbucket', 'backups', '-quiet'], { stdio: 'ignore' });
    await until(async () => (await fetch(endpoint).catch(() => null))?.ok === true, 10_000);
    bucket = { ...access, endpoint };
    place = s3Place('s3://backups/of/fleet', bucket, clock);
  });

  afterAll(() => void server?.kill());

  it('gives back what it was given, small or of several parts', async () => {
    for (const [day, bytes] of [1, 1_000_000, 16 * 1024 * 1024, 40_000_003].entries()) {
      const content = Buffer.alloc(bytes, `content of ${bytes} bytes `);
      expect(await place.write(name(day + 1), chunksOf(content), signal)).toBe(bytes);
      expect((await buffer(place.read(name(day + 1)))).equals(content)).toBe(true);
    }
    expect((await place.list()).map((one) => [one.name, one.bytes])).toEqual([
      [name(4), 40_000_003],
      [name(3), 16 * 1024 * 1024],
      [name(2), 1_000_000],
      [name(1), 1],
    ]);
  });

  it('has all of an archive or nothing', async () => {
    await expect(place.write(name(9), broken(Buffer.alloc(40_000_000)), signal)).rejects.toThrow('the source broke');
    const aborted = AbortSignal.abort(new Error('given up'));
    await expect(place.write(name(8), chunksOf(Buffer.alloc(40_000_000)), aborted)).rejects.toThrow('given up');
    expect((await place.list()).map((one) => one.name)).toEqual([4, 3, 2, 1].map((day) => name(day)));
  });

  it.runIf(kind === 'a bucket')('lets go of what uploads of this machine that were killed a day ago have left, and of nothing else', async () => {
    const client = new S3mini({ accessKeyId: 'key', secretAccessKey: access.secretKey, endpoint: `${bucket.endpoint}/backups`, region: access.region });
    const begun = async (key: string): Promise<string> => {
      const id = await client.getMultipartUploadId(key, 'application/zstd');
      await client.uploadPart(key, id, Buffer.alloc(5 * 1024 * 1024), 1);
      return key;
    };
    const left = async (): Promise<string[]> => {
      const answer = await fetch(`${bucket.endpoint}/backups?uploads`);
      return [...(await answer.text()).matchAll(/<Key>(.*?)<\/Key>/g)].map(([, key = '']) => key);
    };
    const [own, other, elsewhere] = [await begun(`of/fleet/${name(1)}`), await begun(`of/fleet/${name(1, 'm2')}`), await begun(`of/another/${name(1)}`)];
    await place.write(name(7), chunksOf(Buffer.alloc(10)), signal);
    expect((await left()).toSorted()).toEqual([elsewhere, own, other].toSorted());
    const tomorrow = s3Place('s3://backups/of/fleet', bucket, { now: () => Date.now() + 25 * 3_600_000 });
    await tomorrow.write(name(7), chunksOf(Buffer.alloc(10)), signal);
    expect((await left()).toSorted()).toEqual([elsewhere, other].toSorted());
    await place.remove(name(7));
  });

  it('removes what it is told to', async () => {
    await place.remove(name(1));
    await place.remove(name(1));
    expect((await place.list()).map((one) => one.name)).toEqual([4, 3, 2].map((day) => name(day)));
    await expect(buffer(place.read(name(1)))).rejects.toThrow();
  });
});

describe('a bucket that cannot be used', () => {
  it.each(['says nothing', 'stands still', 'drips'])('ends a read when its server %s', async (way) => {
    const timers = new Set<NodeJS.Timeout>();
    const server = createServer((_request, response) => {
      if (way === 'says nothing') return;
      response.writeHead(200, { 'content-length': '1000000' });
      response.write(Buffer.alloc(100_000));
      if (way === 'drips') timers.add(setInterval(() => response.write('x'), 50));
    }).listen(0, '127.0.0.1');
    onTestFinished(() => {
      for (const timer of timers) clearInterval(timer);
      server.closeAllConnections();
      server.close();
    });
    await until(async () => server.listening, 2_000);
    const endpoint = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    const place = s3Place('s3://backups', { endpoint, region: 'r', accessKey: 'key', secretKey: 'secret' }, { ...clock, stallMs: 400 });
    await expect(buffer(place.read(name(1)))).rejects.toMatchObject({
      code: 'BACKUP_PLACE_UNREADABLE',
      params: { reason: expect.stringMatching(/\d+ bytes in 0.4 s/) as unknown },
    });
    await until(async () => new Promise((resolve) => server.getConnections((_error, count) => resolve(count === 0))), 5_000);
  });

  it('says why, without the secret', async () => {
    const refusing = createServer((_request, response) => {
      response.writeHead(403, { 'content-type': 'application/xml' }).end('<Error><Code>AccessDenied</Code><Message>no a-secret-of-S3</Message></Error>');
    }).listen(0, '127.0.0.1');
    await until(async () => refusing.listening, 2_000);
    const endpoint = `http://127.0.0.1:${(refusing.address() as AddressInfo).port}`;
    const place = s3Place('s3://backups', { endpoint, region: 'r', accessKey: 'key', secretKey: 'a-secret-of-S3' }, clock);
    const failed = await place.write(name(1), chunksOf(Buffer.alloc(10)), signal).catch((error: unknown) => error);
    expect(failed).toMatchObject({ code: 'BACKUP_PLACE_UNUSABLE', params: { place: 's3://backups', reason: expect.stringContaining('403') as unknown } });
    expect(JSON.stringify(failed)).not.toContain('a-secret-of-S3');
    for (const reading of [place.list(), buffer(place.read(name(1)))])
      await expect(reading).rejects.toMatchObject({ code: 'BACKUP_PLACE_UNREADABLE', params: { place: 's3://backups' } });
    refusing.close();
    expect(() => s3Place('s3://backups', { endpoint, region: 'r', accessKey: '', secretKey: '' }, clock)).toThrow('BACKUP_KEYS_MISSING');
  });
});
