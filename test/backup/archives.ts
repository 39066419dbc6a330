import { randomUUID } from 'node:crypto';
import { globSync } from 'node:fs';
import { chmod, chown, mkdir, mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { DatabaseSync } from 'node:sqlite';
import { buffer } from 'node:stream/consumers';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { inject } from 'vitest';
import { encrypt } from '../../src/backup/encryption.ts';
import type { DatabaseCounts, Head, Manifest } from '../../src/backup/format.ts';
import { prove } from '../../src/backup/prove.ts';
import { countRdbKeys } from '../../src/backup/rdb.ts';
import { startScratchRedis } from '../../src/backup/scratch-redis.ts';
import { copyDatabase } from '../../src/backup/sqlite-copy.ts';
import { writeArchive } from '../../src/backup/write-archive.ts';
import type { Member } from '../../src/backup/write-archive.ts';

export const nobody = { uid: 65_534, gid: 65_534 };
const signal = new AbortController().signal;

/** A folder that those who load data may enter. */
export async function scratchFolder(): Promise<string> {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-backup-`);
  await chmod(folder, 0o711);
  return folder;
}

export function redisServer(): string {
  const [program = ''] = globSync(`${inject('componentStore')}/redis/*/bin/redis-server`);
  return program;
}

export function headOf(more: Partial<Head> = {}): Head {
  return {
    product: 'livekit-fleet',
    format: 1,
    id: randomUUID(),
    madeAt: '2026-01-02T03:04:05.678Z',
    machine: 'm127-0-0-1',
    address: '127.0.0.1',
    role: 'all',
    dataDir: '/var/lib/livekit-fleet',
    fingerprint: '0123456789abcdef',
    versions: { fleet: '0.1.0', node: '24.0.0', livekit: '1.13.5' },
    bytes: 1000,
    ...more,
  };
}

/** What a real Redis writes of `keys` keys, one of which expires soon. */
export async function rdbOf(keys: number): Promise<Buffer> {
  const folder = await scratchFolder();
  await mkdir(`${folder}/redis`);
  await chown(`${folder}/redis`, nobody.uid, nobody.gid);
  const scratch = await startScratchRedis({ program: redisServer(), folder: `${folder}/redis`, user: nobody, signal, onProgress: () => undefined });
  const pipeline = scratch.redis.pipeline();
  for (let key = 1; key < keys; key++) pipeline.set(`key:${key}`, 'v'.repeat(50) + key);
  pipeline.set('short', '1', 'PX', 1_500);
  await pipeline.exec();
  await scratch.redis.save();
  await scratch.end();
  const rdb = await readFile(`${folder}/redis/dump.rdb`);
  await rm(folder, { recursive: true });
  return rdb;
}

/** A database with so many events, as SQLite's own copy of it. */
export async function databaseOf(events: number): Promise<{ bytes: Buffer; counts: DatabaseCounts }> {
  const folder = await scratchFolder();
  const db = new DatabaseSync(`${folder}/a.db`);
  db.exec('PRAGMA journal_mode = WAL; CREATE TABLE events (id INTEGER PRIMARY KEY, body TEXT); PRAGMA user_version = 8; BEGIN');
  const add = db.prepare('INSERT INTO events (body) VALUES (?)');
  for (let event = 0; event < events; event++) add.run(`{"event": ${event}}`);
  db.exec('COMMIT');
  const counts = await copyDatabase(`${folder}/a.db`, `${folder}/b.db`, () => undefined);
  db.close();
  const bytes = await readFile(`${folder}/b.db`);
  await rm(folder, { recursive: true });
  return { bytes, counts };
}

/** The bytes of an archive of these members. */
export function archiveOf(head: Head, members: Readonly<Record<string, Buffer>>, counts: Manifest['counts'], passphrase?: string): Promise<Buffer> {
  const each = async function* (): AsyncGenerator<Member> {
    for (const [name, from] of Object.entries(members)) yield { name, bytes: from.length, from };
  };
  const archive = writeArchive({ head, members: each(), counts: () => counts, onBytes: () => undefined });
  return buffer(passphrase === undefined ? archive : encrypt(archive, passphrase, 10));
}

/** An archive with everything in it. */
export async function wholeArchive(): Promise<{ head: Head; members: Record<string, Buffer>; counts: Manifest['counts']; bytes: Buffer }> {
  const [rdb, database, relay] = [await rdbOf(50), await databaseOf(200), await databaseOf(20)];
  const head = headOf();
  const members = {
    env: Buffer.from('DOMAIN=localhost\n'),
    'config/role.json': Buffer.from('{}'),
    'caddy/pki/authorities/local/root.crt': Buffer.from('-----BEGIN CERTIFICATE-----\n'),
    'caddy/acme/account.key': Buffer.from('-----BEGIN EC PRIVATE KEY-----\n'),
    'agent/fleet.json': Buffer.from('{"nodes": []}\n'),
    'redis.rdb': rdb,
    'service.db': database.bytes,
    'relay.db': relay.bytes,
  };
  const counts = { redis: countRdbKeys(rdb), databases: { 'service.db': database.counts, 'relay.db': relay.counts } };
  return { head, members, counts, bytes: await archiveOf(head, members, counts) };
}

/** The first `tenth` tenths of an archive. */
export function cutOff(bytes: Buffer, tenth: number): Buffer {
  return bytes.subarray(0, Math.floor((bytes.length * tenth) / 10));
}

/** The archive with one byte of a member changed, in a tar that is compressed anew. @param part where: 0 its first byte, 1 its last */
export function flipIn(archive: Buffer, name: string, part: number): Buffer {
  const tar = zstdDecompressSync(archive);
  let header = 0;
  const sizeAt = (offset: number): number => Number.parseInt(tar.subarray(offset + 124, offset + 135).toString(), 8);
  while (tar.subarray(header, tar.indexOf(0, header)).toString() !== name) {
    if (tar[header] === 0 || header >= tar.length) throw new Error(`no member ${name}`);
    header += 512 + Math.ceil(sizeAt(header) / 512) * 512;
  }
  const place = header + 512 + Math.floor((sizeAt(header) - 1) * part);
  tar[place] = (tar[place] ?? 0) ^ 1;
  return zstdCompressSync(tar);
}

/** Proves bytes, in a folder that is removed after. @throws what prove throws */
export async function proveBytes(bytes: Buffer, passphrase = '', scratch?: string): Promise<{ keys: number | null; members: string[] }> {
  const folder = scratch ?? (await scratchFolder());
  try {
    await mkdir(`${folder}/new`, { mode: 0o711 });
    const proved = await prove({
      source: 'the archive',
      bytes: (async function* () {
        for (let at = 0; at < bytes.length; at += 1_000) yield bytes.subarray(at, at + 1_000);
      })(),
      askPassphrase: async () => passphrase,
      folder: `${folder}/new`,
      redisServer: async () => redisServer(),
      user: nobody,
      isKept: true,
      onHead: () => undefined,
      onProgress: () => undefined,
      signal,
    });
    const keys = proved.redis?.loaded.all ?? null;
    await proved.redis?.[Symbol.asyncDispose]();
    return { keys, members: proved.manifest.members.map((one) => one.name) };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
