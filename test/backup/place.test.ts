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

it.each(['/proc/backups/here', '/dev/full', '/etc/passwd', '/etc/passwd/here'])('%s is refused as a place', async (folder) => {
  const write = folderPlace(folder).write('livekit-fleet-m1-20260101T000000Z.tar.zst', noBytes(), new AbortController().signal);
  await expect(write).rejects.toMatchObject({ code: 'BACKUP_PLACE_UNUSABLE' });
});

it('a folder is made with all that leads to it', async () => {
  const place = folderPlace(`${await scratchFolder()}/a/b`);
  const name = 'livekit-fleet-m1-20260101T000000Z.tar.zst';
  await place.write(name, noBytes(), new AbortController().signal);
  expect((await place.list()).map((one) => one.name)).toEqual([name]);
});

it('an archive that nobody has begun to read may fail', async () => {
  const archive = writeArchive({ head: headOf(), members: noMember(), counts: () => ({ redis: null, databases: {} }), onBytes: () => undefined });
  await delay(50);
  await expect(text(archive as unknown as AsyncIterable<Uint8Array>)).rejects.toThrow();
});
