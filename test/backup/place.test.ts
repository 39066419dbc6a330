import { readdir } from 'node:fs/promises';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, it } from 'vitest';
import { folderPlace } from '../../src/backup/place.ts';
import { writeArchive } from '../../src/backup/write-archive.ts';
import type { Member } from '../../src/backup/write-archive.ts';
import { headOf, scratchFolder } from './archives.ts';

async function* noBytes(): AsyncGenerator<Buffer> {}

async function* noMember(): AsyncGenerator<Member> {
  yield await Promise.reject(new Error('closed'));
}

it.each(['/proc/backups', '/dev/full', '/etc/passwd', '/etc/passwd/here'])('%s is refused as a place', async (folder) => {
  const write = folderPlace(folder).write('livekit-fleet-m1-20260101T000000Z.tar.zst', noBytes(), new AbortController().signal);
  await expect(write).rejects.toMatchObject({ code: 'BACKUP_PLACE_UNUSABLE' });
});

it('a folder is made, but not those that lead to it: the disk may not be mounted', async () => {
  const scratch = await scratchFolder();
  const name = 'livekit-fleet-m1-20260101T000000Z.tar.zst';
  const write = (folder: string): Promise<number> => folderPlace(folder).write(name, noBytes(), new AbortController().signal);
  const missing = { code: 'BACKUP_FOLDER_MISSING', params: { place: `${scratch}/a/b`, folder: `${scratch}/a` } };
  await expect(write(`${scratch}/a/b`)).rejects.toMatchObject(missing);
  await expect(write('/proc/backups/here')).rejects.toMatchObject({ code: 'BACKUP_FOLDER_MISSING' });
  expect(await readdir(scratch)).toEqual([]);
  for (const folder of [`${scratch}/a`, `${scratch}/a/b`]) {
    await write(folder);
    expect((await folderPlace(folder).list()).map((one) => one.name)).toEqual([name]);
  }
});

it('an archive that nobody has begun to read may fail', async () => {
  const archive = writeArchive({ head: headOf(), members: noMember(), counts: () => ({ redis: null, databases: {} }), onBytes: () => undefined });
  await delay(50);
  await expect(text(archive as unknown as AsyncIterable<Uint8Array>)).rejects.toThrow();
});
