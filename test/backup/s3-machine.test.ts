import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { bringGoProgram } from '../e2e/go-program.ts';
import { createInstallation, freePorts, until, untilWell } from '../e2e/installation.ts';
import type { Installation, Ran } from '../e2e/installation.ts';

/** A machine whose backups go into a bucket, of a real server of the S3 protocol, and come back from there. One story; the order matters. */
describe.runIf(process.getuid?.() === 0)('with BACKUP_DIR=s3://…', () => {
  let place: Installation;
  let server: ChildProcess;
  let access: Record<string, string>;
  let archive = '';
  const secret = 'a-secret-of-S3';
  const passphrase = 'correct horse battery';
  const addEvent = (id: string): void => {
    using db = new DatabaseSync(`${place.folder}/data/state/service/service.db`);
    db.exec(`PRAGMA busy_timeout = 5000; INSERT INTO events (at, id, room, room_key, event, received_at, body) VALUES (1, '${id}', '', 0, 'x', 1, '')`);
  };
  const events = (): unknown[] => {
    using db = new DatabaseSync(`${place.folder}/data/state/service/service.db`, { readOnly: true });
    return db
      .prepare('SELECT id FROM events')
      .all()
      .map(({ id }) => id);
  };
  async function done(words: readonly string[], variables: Record<string, string> = {}): Promise<Record<string, unknown>> {
    const ran: Ran = await place.run([...words, '--json'], variables);
    expect(ran.code, `${words.join(' ')}: ${ran.out} ${ran.err}`).toBe(0);
    expect(ran.out + ran.err).not.toContain(secret);
    expect(ran.out + ran.err).not.toContain(passphrase);
    return JSON.parse(ran.out) as Record<string, unknown>;
  }
  const refused = async (words: readonly string[], variables: Record<string, string> = {}): Promise<unknown> =>
    (JSON.parse((await place.run([...words, '--json'], variables)).out) as { error: string }).error;

  beforeAll(async () => {
    const program = await bringGoProgram('github.com/johannesboyne/gofakes3/cmd/gofakes3', '1.2.0');
    const [port = 0] = await freePorts(1);
    const endpoint = `http://127.0.0.1:${port}`;
    server = spawn(program, ['-backend', 'memory', '-host', `127.0.0.1:${port}`, '-initialbucket', 'backups', '-quiet'], { stdio: 'ignore' });
    await until(async () => (await fetch(endpoint).catch(() => null))?.ok === true, 10_000);
    place = await createInstallation();
    await writeFile(`${place.folder}/passphrase`, passphrase, { mode: 0o600 });
    access = {
      BACKUP_DIR: 's3://backups/of/fleet',
      BACKUP_S3_ENDPOINT: endpoint,
      BACKUP_S3_ACCESS_KEY: 'key',
      BACKUP_S3_SECRET_KEY: secret,
      BACKUP_PASSPHRASE_FILE: `${place.folder}/passphrase`,
    };
    const lines = Object.entries({ ...access, COMPONENT_DIR: inject('componentStore'), BACKUP_KEEP: '2' }).map(([name, value]) => `${name}=${value}\n`);
    await writeFile(place.envFile, `${await readFile(place.envFile, 'utf8')}${lines.join('')}`);
    await done(['deploy']);
    addEvent('of-then');
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
    server.kill();
  });

  it('archives are kept there, proved, listed and removed, and none on this machine', async () => {
    for (const turn of [1, 2, 3]) {
      const made = await done(['backup', '--verify', '--prune']);
      expect(made).toMatchObject({ isProved: true, path: expect.stringMatching(/^s3:\/\/backups\/of\/fleet\/livekit-fleet-.*\.tar\.zst\.age$/) as unknown });
      expect(made['removed']).toHaveLength(turn === 3 ? 1 : 0);
      archive = String(made['path']);
      // Names tell seconds.
      await until(async () => new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '') > (/\d{8}T\d{6}Z/.exec(archive)?.[0] ?? ''), 3_000);
    }
    const listed = (await done(['backup', 'list'])) as { backups: Array<{ path: string; isEncrypted: boolean }> };
    expect(listed.backups.map(({ path, isEncrypted }) => [path === archive, isEncrypted])).toEqual([
      [true, true],
      [false, true],
    ]);
    expect(await done(['backup', 'prune', '--keep', '1', '--dry-run'])).toMatchObject({ removed: [listed.backups[1]?.path.split('/').at(-1)] });
    expect(await readdir(`${place.folder}/data`)).not.toContain('backups');
    const elsewhere = await done(['backup', '--to', 's3://backups/other']);
    expect(elsewhere['path']).toMatch(/^s3:\/\/backups\/other\/livekit-fleet-/);
  });

  it('are proved, and found by a restore, by their bare names', async () => {
    const name = archive.split('/').at(-1) ?? '';
    expect(await done(['backup', '--verify', name])).toMatchObject({ isProved: true, path: archive });
    expect(await done(['restore', name, '--dry-run'])).toMatchObject({ isWhole: true, path: archive });
  });

  it('come back from there, as they are and onto a machine that has nothing', async () => {
    addEvent('of-today');
    await done(['restore', archive, '--yes']);
    expect(events()).toEqual(['of-then']);
    await place.run(['stop']);
    const before = await readFile(place.envFile, 'utf8');
    await rm(`${place.folder}/data`, { recursive: true });
    await rm(place.envFile);
    await done(['restore', archive, '--yes'], access);
    expect(events()).toEqual(['of-then']);
    expect(await readFile(place.envFile, 'utf8')).toBe(before);
    await untilWell(() => place.run(['status']));
  });

  it('are refused with nothing changed where the bucket has none, is away, or asks for another key', async () => {
    expect(await refused(['restore', 's3://backups/of/fleet/none.tar.zst', '--yes'])).toBe('BACKUP_NOT_FOUND');
    expect(await refused(['restore', 's3://no-bucket/of/fleet/none.tar.zst', '--yes'])).toMatch(/^BACKUP_(NOT_FOUND|PLACE_UNREADABLE)$/);
    for (const words of [['restore', archive, '--yes'], ['backup'], ['backup', 'list'], ['backup', '--verify', archive.split('/').at(-1) ?? '']]) {
      const code = words.length === 1 ? 'BACKUP_PLACE_UNUSABLE' : 'BACKUP_PLACE_UNREADABLE';
      expect(await refused(words, { BACKUP_S3_ENDPOINT: 'http://127.0.0.1:1' }), words.join(' ')).toBe(code);
      expect(await refused(words, { BACKUP_S3_SECRET_KEY: '', BACKUP_S3_ACCESS_KEY: '' }), words.join(' ')).not.toBe('UNEXPECTED');
    }
    expect(events()).toEqual(['of-then']);
    await untilWell(() => place.run(['status']));
  });
});
