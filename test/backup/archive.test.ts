import { execa } from 'execa';
import { statfsSync } from 'node:fs';
import { mkdir, readdir, rm } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import { Decrypter, Encrypter } from 'age-encryption';
import { beforeAll, describe, expect, it } from 'vitest';
import { encrypt } from '../../src/backup/encryption.ts';
import { archiveName, parseArchiveName } from '../../src/backup/format.ts';
import { countRdbKeys } from '../../src/backup/rdb.ts';
import { FleetError } from '../../src/kernel/errors.ts';
import { archiveOf, cutOff, flipIn, headOf, proveBytes, rdbOf, scratchFolder, wholeArchive } from './archives.ts';

const failure = (code: string): unknown => expect.objectContaining({ code });
const of = async (work: Promise<unknown>): Promise<string> =>
  work.then(
    () => 'accepted',
    (error: unknown) => (error instanceof FleetError ? error.code : String(error)),
  );

async function* pieces(bytes: Buffer): AsyncGenerator<Buffer> {
  for (let at = 0; at < bytes.length; at += 7_001) yield bytes.subarray(at, at + 7_001);
}

/** Archives as they are written, read by the real Redis and SQLite. */
describe.runIf(process.getuid?.() === 0)('an archive', () => {
  let whole: Awaited<ReturnType<typeof wholeArchive>>;
  beforeAll(async () => {
    whole = await wholeArchive();
  });

  it('is whole, also when a key has expired since', async () => {
    await new Promise((resolve) => setTimeout(resolve, 1_600));
    expect(whole.counts.redis).toEqual({ keys: 50, expires: 1 });
    expect(await proveBytes(whole.bytes)).toEqual({ keys: 50, members: ['archive.json', ...Object.keys(whole.members)] });
  });

  it('is refused where it is cut off, wherever that is, also where it is encrypted', async () => {
    const { head, members, counts, bytes } = whole;
    const sealed = await archiveOf(head, members, counts, 'correct horse');
    expect(await of(proveBytes(sealed, 'correct horse'))).toBe('accepted');
    for (const [kind, all] of [
      ['plain', bytes],
      ['encrypted', sealed],
    ] as const) {
      for (let tenth = 0; tenth < 10; tenth++)
        expect(await of(proveBytes(cutOff(all, tenth), 'correct horse')), `${kind}, ${tenth * 10} %`).toBe(
          tenth === 0 ? 'BACKUP_FOREIGN_FILE' : 'BACKUP_DAMAGED',
        );
      expect(await of(proveBytes(all.subarray(0, -1), 'correct horse')), kind).toBe('BACKUP_DAMAGED');
    }
  });

  it('is refused with a byte that is another, wherever that is', async () => {
    const tar = zstdDecompressSync(whole.bytes);
    let refused = 0;
    for (let step = 0; step < 60; step++) {
      const bytes = Buffer.from(whole.bytes);
      const at = Math.floor((bytes.length * step) / 60);
      bytes[at] = (bytes[at] ?? 0) ^ 0x40;
      const code = await of(proveBytes(bytes));
      // Where zeros are repeated, it may lead to others of them: the contents are what they were.
      if (code === 'accepted') expect(zstdDecompressSync(bytes).equals(tar), `byte ${at}`).toBe(true);
      else expect(code, `byte ${at}`).toBe(step === 0 ? 'BACKUP_FOREIGN_FILE' : 'BACKUP_DAMAGED');
      refused += code === 'accepted' ? 0 : 1;
    }
    expect(refused).toBeGreaterThan(50);
  });

  it('is refused with a byte that is another in any member, though it was compressed anew', async () => {
    const names = ['archive.json', ...Object.keys(whole.members), 'manifest.json', 'manifest.sha256'];
    expect(names).toHaveLength(11);
    for (const name of names)
      // The seal's last byte is the end of its line.
      for (const part of [0, 0.5, name === 'manifest.sha256' ? 0.98 : 1])
        expect(await of(proveBytes(flipIn(whole.bytes, name, part))), `${name} at ${part}`).toMatch(/^BACKUP_(DAMAGED|FOREIGN_FILE)$/);
  });

  it('is refused where Redis or SQLite find fault with what has the right checksum', async () => {
    const { head, members, counts } = whole;
    const rdb = Buffer.from(members['redis.rdb'] ?? '');
    rdb[Math.floor(rdb.length / 2)] = 0xff;
    await expect(proveBytes(await archiveOf(head, { ...members, 'redis.rdb': rdb }, counts))).rejects.toMatchObject({
      code: 'BACKUP_DAMAGED',
      params: { reason: expect.stringMatching(/^redis\.rdb: ./) as unknown },
    });
    const database = Buffer.from(members['service.db'] ?? '');
    database.fill(0x55, 4096, 4200);
    await expect(proveBytes(await archiveOf(head, { ...members, 'service.db': database }, counts))).rejects.toMatchObject({
      code: 'BACKUP_DAMAGED',
      params: { reason: expect.stringMatching(/^service\.db: ./) as unknown },
    });
  });

  it('is refused where something is missing that was counted', async () => {
    const { head, members, counts } = whole;
    const fewer = { ...counts, redis: { keys: 51, expires: 0 } };
    await expect(proveBytes(await archiveOf(head, members, fewer))).rejects.toMatchObject({
      params: { reason: expect.stringContaining('keys instead of 51') as unknown },
    });
    const rows = { ...counts, databases: { ...counts.databases, 'service.db': { schema: 8, rows: { events: 201 } } } };
    await expect(proveBytes(await archiveOf(head, members, rows))).rejects.toMatchObject({
      params: { reason: 'service.db: events has 200 rows instead of 201' },
    });
  });

  it('is refused in a format that this program does not know', async () => {
    const { members, counts } = whole;
    await expect(proveBytes(await archiveOf(headOf({ format: 3 }), members, counts))).rejects.toEqual(failure('BACKUP_NEWER'));
    await expect(proveBytes(await archiveOf(headOf({ format: 0 }), members, counts))).rejects.toEqual(failure('BACKUP_OLDER'));
    await expect(proveBytes(zstdCompressSync('something else'))).rejects.toEqual(failure('BACKUP_DAMAGED'));
    await expect(proveBytes(Buffer.from('PK something else that is long enough'))).rejects.toEqual(failure('BACKUP_FOREIGN_FILE'));
  });

  it('does not fill the disk, whatever it says of its size', async () => {
    const small = await scratchFolder();
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', small]);
    try {
      const bytes = await archiveOf(headOf({ bytes: 1 }), { 'config/large': Buffer.alloc(80_000_000) }, { redis: null, databases: {} });
      expect(bytes.length).toBeLessThan(100_000);
      await mkdir(`${small}/scratch`);
      let least = Number.POSITIVE_INFINITY;
      const watch = setInterval(() => (least = Math.min(least, statfsSync(small).bavail * statfsSync(small).bsize)), 1);
      await expect(proveBytes(bytes, '', `${small}/scratch`)).rejects.toEqual(failure('DISK_FULL'));
      clearInterval(watch);
      expect(least).toBeGreaterThan(500_000);
      expect(await readdir(small)).toEqual([]);
    } finally {
      await execa('umount', [small]);
      await rm(small, { recursive: true });
    }
  });

  it('writes nothing that is not on the list', async () => {
    const { head, counts } = whole;
    for (const name of ['../evil', 'config/../../evil', '/etc/passwd', 'config/.hidden', 'other.db'])
      await expect(proveBytes(await archiveOf(head, { [name]: Buffer.from('x') }, counts)), name).rejects.toEqual(failure('BACKUP_DAMAGED'));
  });
});

describe('the encryption', () => {
  const text = Buffer.alloc(200_000, 'text of the archive ');

  it('is age’s own', async () => {
    for (const length of [0, 1, 65_535, 65_536, 65_537, 131_072, 200_000]) {
      const decrypter = new Decrypter();
      decrypter.addPassphrase('correct horse');
      const sealed = await buffer(encrypt(pieces(text.subarray(0, length)), 'correct horse', 10));
      expect(Buffer.from(await decrypter.decrypt(sealed)).equals(text.subarray(0, length)), String(length)).toBe(true);
    }
  });

  it.runIf(process.getuid?.() === 0)('reads what age wrote, asks for the right passphrase, and notices what is cut off or changed', async () => {
    const { bytes } = await wholeArchive();
    const encrypter = new Encrypter();
    encrypter.setPassphrase('correct horse');
    encrypter.setScryptWorkFactor(10);
    const sealed = Buffer.from(await encrypter.encrypt(bytes));
    expect(await proveBytes(sealed, 'correct horse')).toMatchObject({ keys: 50 });
    await expect(proveBytes(sealed, 'wrong horse')).rejects.toEqual(failure('BACKUP_PASSPHRASE_WRONG'));
    for (const length of [30, 100, 300, sealed.length - 1])
      expect(await of(proveBytes(sealed.subarray(0, length), 'correct horse')), String(length)).toBe('BACKUP_DAMAGED');
    const changed = Buffer.from(sealed);
    changed[sealed.length - 100] = (changed[sealed.length - 100] ?? 0) ^ 1;
    await expect(proveBytes(changed, 'correct horse')).rejects.toEqual(failure('BACKUP_DAMAGED'));
  });
});

describe('what an RDB file says of itself', () => {
  it.runIf(process.getuid?.() === 0).each([1, 2, 63, 64, 16_383, 16_384, 70_000])('%i keys', async (keys) => {
    expect(countRdbKeys((await rdbOf(keys)).subarray(0, 1_000))).toEqual({ keys, expires: 1 });
  });

  it('nothing, where it is cut off or something else', () => {
    for (const text of ['', 'REDIS', 'REDIS0011\xfa', 'something else']) expect(countRdbKeys(Buffer.from(text, 'latin1'))).toBeNull();
    expect(countRdbKeys(Buffer.from('REDIS0011\xff', 'latin1'))).toEqual({ keys: 0, expires: 0 });
  });
});

describe('an archive’s name', () => {
  it('says whose it is, and when it was made', () => {
    const head = headOf();
    expect(archiveName(head, false)).toBe('livekit-fleet-m127-0-0-1-20260102T030405Z.tar.zst');
    expect(parseArchiveName(archiveName(head, true))).toEqual({ machine: 'm127-0-0-1', madeAt: '2026-01-02T03:04:05Z', isEncrypted: true });
    for (const other of ['a.tar.zst', '.livekit-fleet-m1-20260102T030405Z.tar.zst.part-1', 'livekit-fleet-m1-20260102T030405Z.tar.zst.bak'])
      expect(parseArchiveName(other)).toBeNull();
  });
});
