import { randomBytes } from 'node:crypto';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { statfsSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { execa } from 'execa';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { createInstallation, until, untilWell } from '../e2e/installation.ts';
import type { Installation } from '../e2e/installation.ts';
import { archiveOf, headOf } from './archives.ts';

/** Disks that are full when half is written, of the archive's and of the machine's data. */
describe.runIf(process.getuid?.() === 0)('a disk that becomes full', () => {
  let place: Installation;
  const data = (): string => `${place.folder}/data`;
  const small = (): string => `${place.folder}/small`;
  const rows = (): number => {
    using db = new DatabaseSync(`${data()}/state/service/service.db`, { readOnly: true });
    return Number(db.prepare('SELECT count(*) AS n FROM events').get()?.['n']);
  };

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    await Promise.all([data(), small()].map((folder) => mkdir(folder)));
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=160m,mode=755', 'tmpfs', data()]);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=4m,mode=755', 'tmpfs', small()]);
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    using db = new DatabaseSync(`${data()}/state/service/service.db`);
    const add = db.prepare("INSERT INTO events (at, id, room, room_key, event, received_at, body) VALUES (?, ?, 'r', 0, 'x', 1, ?)");
    db.exec('PRAGMA busy_timeout = 5000; BEGIN');
    // 20 MB that no compression makes smaller.
    for (let number = 0; number < 2_000; number++) add.run(Date.now(), `EV_${number}`, randomBytes(5_000).toString('latin1'));
    db.exec('COMMIT');
  });

  afterAll(async () => {
    await place.run(['stop']);
    await execa('umount', [data()]);
    await execa('umount', [small()]);
    await place.remove();
  });

  /** Keeps the disk full, whatever becomes free, until what it gives is called. */
  const fill = (): (() => Promise<void>) => {
    const script = 'while :; do cat /dev/zero >>"$1"; sleep 0.02; done';
    const filling = execa('sh', ['-c', script, 'sh', `${data()}/state/filler`], { reject: false, stderr: 'ignore' });
    return async () => {
      filling.kill();
      await filling;
      await rm(`${data()}/state/filler`, { force: true });
    };
  };

  // What one test leaves when it fails is in no other's way.
  afterEach(() => rm(`${data()}/state/filler`, { force: true }));

  it('in the midst of a backup leaves no archive, and nothing else', async () => {
    const said = JSON.parse((await place.run(['backup', '--json', '--to', small()])).out) as Record<string, unknown>;
    expect(said).toMatchObject({ error: 'DISK_FULL', path: small() });
    expect(await files(small())).toEqual([]);
    expect(await readdir(`${data()}/state`)).not.toContain('backup');
    // Where the copy of the database is made.
    const { bavail, bsize } = statfsSync(data());
    const filler = `${data()}/state/filler`;
    await execa('fallocate', ['-l', String(bavail * bsize - 8_000_000), filler]);
    const copied = JSON.parse((await place.run(['backup', '--json', '--to', `${place.folder}/kept`])).out) as Record<string, unknown>;
    // Redis writes its snapshot there at the same time.
    expect(['DISK_FULL', 'BACKUP_REDIS_UNSAVED']).toContain(copied['error']);
    expect(await readdir(`${data()}/state`)).not.toContain('backup');
    expect(await files(`${place.folder}/kept`)).toEqual([]);
    await rm(filler);
    expect(await place.run(['backup', '--verify', '--to', `${place.folder}/kept`])).toMatchObject({ code: 0, err: '' });
    expect(await files(`${place.folder}/kept`)).toHaveLength(1);
  });

  it('keeps nobody from stopping what runs, though its state cannot be noted', async () => {
    let free = fill();
    onTestFinished(() => free());
    await until(async () => statfsSync(data()).bavail === 0, 20_000);
    expect(await place.run(['stop', 'livekit'])).toMatchObject({ code: 0 });
    await free();
    expect(await place.run(['start', 'livekit'])).toMatchObject({ code: 0 });
    free = fill();
    await until(async () => statfsSync(data()).bavail === 0, 20_000);
    expect(await place.run(['stop'])).toMatchObject({ code: 0 });
    expect((await execa('pgrep', ['-f', `${data()}/(config|logs|run)`], { reject: false })).stdout).toBe('');
    await free();
    expect(await place.run(['start'])).toMatchObject({ code: 0 });
    expect(await place.run(['stop'])).toMatchObject({ code: 0 });
    expect(await place.run(['stop'])).toMatchObject({ code: 0 });
    expect(await place.run(['start'])).toMatchObject({ code: 0 });
  });

  it('in the midst of a restore leaves everything as it is', async () => {
    const [archive = ''] = await files(`${place.folder}/kept`);
    const { fingerprint } = JSON.parse((await place.run(['restore', archive, '--dry-run', '--json'])).out) as { fingerprint: string };
    // It says of itself that it is small.
    const liar = `${place.folder}/liar`;
    const own = { fingerprint, bytes: 1 };
    await writeFile(liar, await archiveOf(headOf(own), { env: Buffer.from(''), 'config/large': Buffer.alloc(400_000_000) }, { redis: null, databases: {} }));
    const before = [rows(), await readFile(place.envFile, 'utf8')];
    expect(JSON.parse((await place.run(['restore', liar, '--yes', '--json'])).out)).toMatchObject({ error: 'DISK_FULL' });
    expect(await readdir(`${data()}/state`)).not.toContain('restore');
    // Somebody else fills the disk meanwhile.
    const restoring = place.run(['restore', archive, '--yes', '--json']);
    await until(async () => (await readdir(`${data()}/state/restore/new`).catch(() => [])).length > 0, 20_000);
    await execa('dd', ['if=/dev/zero', `of=${data()}/state/filler`, 'bs=1M'], { reject: false });
    const said = JSON.parse((await restoring).out) as Record<string, unknown>;
    await rm(`${data()}/state/filler`);
    // It may have been through already: then it is whole, or has gone back because a part could not write.
    if ('error' in said) expect(['DISK_FULL', 'NOT_HEALTHY'], JSON.stringify(said)).toContain(said['error']);
    await untilWell(() => place.run(['status']));
    expect([rows(), await readFile(place.envFile, 'utf8')]).toEqual(before);
    expect(await readdir(`${data()}/state`)).not.toContain('restore');
    expect(await place.run(['restore', archive, '--yes'])).toMatchObject({ code: 0, err: '' });
    expect(rows()).toBe(2_000);
  });
});

async function files(folder: string): Promise<string[]> {
  return (await execa('find', [folder, '-type', 'f'])).stdout.split('\n').filter((line) => line !== '');
}
