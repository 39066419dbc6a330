import { execa } from 'execa';
import { Redis } from 'ioredis';
import { globSync, readlinkSync } from 'node:fs';
import { readFile, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { Readable } from 'node:stream';
import { buffer } from 'node:stream/consumers';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { brokenLivekit, createInstallation, until, untilWell } from '../e2e/installation.ts';
import type { Installation, Ran } from '../e2e/installation.ts';
import { encrypt } from '../../src/backup/encryption.ts';
import { runMortal } from '../e2e/run-mortal.ts';
import { archiveOf, cutOff, flipIn, headOf } from './archives.ts';

/** The first member of an archive below a folder. */
async function memberIn(archive: string, folder: string): Promise<string> {
  const { stdout } = await execa('tar', ['--zstd', '-tf', archive]);
  const found = stdout.split('\n').find((name) => name.startsWith(folder));
  if (found === undefined) throw new Error(`nothing in ${folder}`);
  return found;
}

/** Where a link of the kernel leads; nowhere once its process has ended. */
function tryReadlink(link: string): string {
  try {
    return readlinkSync(link);
  } catch {
    return '';
  }
}

/** Everything that can go wrong with a restore: what stood goes on, or what comes is there as a whole. */
describe('a restore', () => {
  let place: Installation;
  let archive = '';
  const data = (): string => `${place.folder}/data`;
  const env = (): Promise<string> => readFile(place.envFile, 'utf8');

  async function withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const password = /^REDIS_PASSWORD=(.*)$/m.exec(await env())?.[1] ?? '';
    const redis = new Redis({ host: '127.0.0.1', port: place.ports['REDIS_PORT'] ?? 0, password });
    redis.on('error', () => undefined);
    try {
      return await work(redis);
    } finally {
      redis.disconnect();
    }
  }

  /** Says in Redis, the database and the settings which day it is. */
  async function live(day: 'then' | 'today'): Promise<void> {
    await withRedis((redis) => redis.set('day', day));
    using db = new DatabaseSync(`${data()}/state/service/service.db`);
    db.exec(
      `PRAGMA busy_timeout = 5000; DELETE FROM events; INSERT INTO events (at, id, room, room_key, event, received_at, body) VALUES (1, '${day}', '', 0, 'x', 1, '')`,
    );
    await writeFile(place.envFile, (await env()).replace(/^DRAIN_TIMEOUT=.*$/m, `DRAIN_TIMEOUT=${day === 'then' ? 1 : 2}`));
  }

  /** Which day it is, everywhere. */
  async function days(): Promise<string[]> {
    using db = new DatabaseSync(`${data()}/state/service/service.db`, { readOnly: true });
    const inSettings = (await env()).includes('DRAIN_TIMEOUT=1') ? 'then' : 'today';
    // What LiveKit tells late, of a meeting that verify held, says nothing of the day.
    const rows = db.prepare(`SELECT id FROM events WHERE id IN ('then', 'today')`).all();
    return [(await withRedis((redis) => redis.get('day'))) ?? '', rows.map(({ id }) => String(id)).join(), inSettings];
  }

  const statuses = async (): Promise<unknown[]> => {
    const { parts } = JSON.parse((await place.run(['status', '--json'])).out) as { parts: Array<{ part: string; pid: number }> };
    return parts.map(({ part, pid }) => `${part} ${pid}`);
  };

  /** A command that has to end with this error, with nothing changed. */
  async function refused(code: string, words: readonly string[], variables: Record<string, string> = {}): Promise<Ran> {
    const [before, text] = [await statuses(), await env()];
    const done = await place.run([...words, '--yes', '--json'], variables);
    expect(JSON.parse(done.out)).toMatchObject({ error: code });
    expect(await statuses()).toEqual(before);
    expect(await env()).toBe(text);
    expect(await days()).toEqual(['today', 'today', 'today']);
    expect(await readdir(`${data()}/state`)).not.toContain('restore');
    return done;
  }

  /** Commands that each have to end with this error, with nothing changed by all of them. */
  async function refusedAll(code: string, commands: ReadonlyArray<() => Promise<[what: string, ran: Ran]>>): Promise<void> {
    const [before, text] = [await statuses(), await env()];
    for (const command of commands) {
      const [what, done] = await command();
      expect(JSON.parse(done.out), what).toMatchObject({ error: code });
      expect(await readdir(`${data()}/state`), what).not.toContain('restore');
    }
    expect(await statuses()).toEqual(before);
    expect(await env()).toBe(text);
    expect(await days()).toEqual(['today', 'today', 'today']);
  }

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore'), DRAIN_TIMEOUT: '1' });
    await execa('mkdir', [data()]);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=96m,mode=755', 'tmpfs', data()]);
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    await live('then');
    archive = (JSON.parse((await place.run(['backup', '--json', '--to', `${place.folder}/kept`])).out) as { path: string }).path;
    await live('today');
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await execa('umount', [data()]);
    await place.remove();
  });

  // What one test leaves when it fails is in no other's way.
  afterEach(async ({ task }) => {
    await rm(`${data()}/state/filler`, { force: true });
    if (task.result?.state !== 'fail') return;
    await place.run(['deploy']);
    await live('today');
  });

  it('refuses a path that leads to no archive', async () => {
    for (const path of ['/nowhere/at/all.tar.zst', 'relative.tar.zst', place.folder, '/dev/null']) await refused('BACKUP_NOT_FOUND', ['restore', path]);
    await writeFile(`${place.folder}/text`, 'this is a text, and nothing else');
    await refused('BACKUP_FOREIGN_FILE', ['restore', `${place.folder}/text`]);
  });

  it('refuses what is damaged, of another fleet, role or format', async () => {
    const bytes = await readFile(archive);
    const file = `${place.folder}/changed`;
    const opened = { BACKUP_PASSPHRASE: 'correct horse' };
    const sealed = await buffer(encrypt(Readable.from([bytes]), opened.BACKUP_PASSPHRASE, 10));
    await writeFile(file, sealed);
    expect((await place.run(['restore', file, '--dry-run'], opened)).code).toBe(0);
    const damages: Array<[what: string, bytes: Buffer, variables?: Record<string, string>]> = [
      ...[1, 3, 5, 7, 9].map((tenth): [string, Buffer] => [`${tenth * 10} %`, cutOff(bytes, tenth)]),
      ...[1, 2, 3, 4, 5, 6, 7, 8, 9].map((tenth): [string, Buffer, Record<string, string>] => [`${tenth * 10} %, encrypted`, cutOff(sealed, tenth), opened]),
      ...['relay.db', 'config/role.json', await memberIn(archive, 'caddy/'), await memberIn(archive, 'agent/')].map((name): [string, Buffer] => [
        name,
        flipIn(bytes, name, 0.5),
      ]),
    ];
    await refusedAll(
      'BACKUP_DAMAGED',
      damages.map(([what, content, variables]) => async () => {
        await writeFile(file, content);
        return [what, await place.run(['restore', file, '--yes', '--json'], variables)];
      }),
    );
    const counts = { redis: null, databases: {} };
    const head = JSON.parse((await place.run(['restore', archive, '--dry-run', '--json'])).out) as { fingerprint: string };
    const own = { fingerprint: head.fingerprint };
    const others = [
      ['BACKUP_OTHER_FLEET', headOf()],
      ['BACKUP_OTHER_ROLE', headOf({ ...own, role: 'media' })],
      ['BACKUP_NEWER', headOf({ ...own, format: 99 })],
      ['BACKUP_OLDER', headOf({ ...own, format: 0 })],
      ['BACKUP_NO_SPACE', headOf({ ...own, bytes: 10 ** 12 })],
    ] as const;
    for (const [code, of] of others) {
      await writeFile(file, await archiveOf(of, {}, counts));
      await refused(code, ['restore', file]);
    }
  });

  it('finds an archive by a relative path, and asks for the passphrase of one that is encrypted', async () => {
    const name = archive.split('/').at(-1) ?? '';
    const command = `${import.meta.dirname}/../../部署.sh`;
    const found = await execa(command, ['restore', `kept/${name}`, '--dry-run', '--env', place.envFile], { cwd: place.folder, env: { LANG: 'C' } });
    expect(found.stdout).toContain('is whole');
    await symlink(archive, `${place.folder}/newest`);
    expect(JSON.parse((await place.run(['restore', `${place.folder}/newest`, '--dry-run', '--json'])).out)).toMatchObject({ isWhole: true });
    await writeFile(`${place.folder}/passphrase`, 'correct horse battery\n', { mode: 0o600 });
    const withPassphrase = { BACKUP_PASSPHRASE_FILE: `${place.folder}/passphrase` };
    const made = await place.run(['backup', '--verify', '--json', '--to', `${place.folder}/sealed`], withPassphrase);
    const { path, isProved } = JSON.parse(made.out) as { path: string; isProved: boolean };
    expect([isProved, path.endsWith('.tar.zst.age')]).toEqual([true, true]);
    await refused('BACKUP_PASSPHRASE_MISSING', ['restore', path]);
    await refused('BACKUP_PASSPHRASE_WRONG', ['restore', path], { BACKUP_PASSPHRASE: 'wrong horse' });
    expect((await place.run(['restore', path, '--dry-run'], withPassphrase)).code).toBe(0);
  });

  it('needs a person, or --yes', async () => {
    const done = await place.run(['restore', archive, '--json']);
    expect(JSON.parse(done.out)).toMatchObject({ error: 'NOT_SURE_RESTORE' });
  });

  it('finds no space, and changes nothing; nor does a backup leave anything there', async () => {
    await execa('dd', ['if=/dev/zero', `of=${data()}/state/filler`, 'bs=64k'], { reject: false });
    const restored = JSON.parse((await place.run(['restore', archive, '--yes', '--json'])).out) as { error: string };
    expect(['BACKUP_NO_SPACE', 'DISK_FULL', 'BACKUP_DAMAGED']).toContain(restored.error);
    const made = JSON.parse((await place.run(['backup', '--json'])).out) as { error: string };
    // Sick: Redis has noticed by itself that it cannot write.
    expect(['DISK_FULL', 'BACKUP_REDIS_UNSAVED', 'BACKUP_PART_SICK']).toContain(made.error);
    await rm(`${data()}/state/filler`);
    await untilWell(() => place.run(['status']));
    expect(await readdir(`${data()}/backups`).catch(() => [])).toEqual([]);
    expect(await days()).toEqual(['today', 'today', 'today']);
    expect((await place.run(['backup', '--verify'])).code).toBe(0);
    await rm(`${data()}/backups`, { recursive: true });
  });

  it('goes back to what stood before when a part does not become well', async () => {
    await writeFile(`${place.folder}/broken`, brokenLivekit, { mode: 0o755 });
    const failed = await place.run(['restore', archive, '--yes'], { LIVEKIT_PATH: `${place.folder}/broken`, HEALTH_TIMEOUT: '3' });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('this one is broken');
    expect(failed.out).toContain('What stood before the restore is back');
    expect((await place.run(['deploy'])).code).toBe(0);
    expect(await days()).toEqual(['today', 'today', 'today']);
    await untilWell(() => place.run(['status']));
  });

  const killAt = (n: number, kind = 'acts'): Promise<{ stderr: string; signal?: string | undefined }> =>
    runMortal(`${import.meta.dirname}/restore-killed-at.ts`, [place.envFile, archive, String(n), kind]);

  it('is as if it had not begun after a kill while it unpacks, and nothing of it stays', async () => {
    const whole = await killAt(0, 'writes');
    expect(whole, whole.stderr).toMatchObject({ exitCode: 0 });
    const writes = whole.stderr.trimEnd().split('\n').length;
    await live('today');
    expect(writes).toBeGreaterThan(10);
    let unpacking = 0;
    for (const n of [1, ...[0.3, 0.5, 0.7].map((part) => Math.floor(writes * part))]) {
      expect((await killAt(n, 'writes')).signal, `write ${n}`).toBe('SIGKILL');
      unpacking += (await readdir(`${data()}/state/restore/new`).catch(() => [])).length > 0 ? 1 : 0;
      expect((await place.run(['start'])).code).toBe(0);
      expect(await days()).toEqual(['today', 'today', 'today']);
      expect(await readdir(`${data()}/state`)).not.toContain('restore');
    }
    expect(unpacking).toBeGreaterThan(1);
    const holders = globSync('/proc/[0-9]*/cwd').filter((link) => tryReadlink(link).startsWith(`${data()}/state/restore`));
    expect(holders).toEqual([]);
  });

  it('is only checked by a dry run, also where another one was killed', async () => {
    const acts = (await killAt(0)).stderr.trimEnd().split('\n');
    await live('today');
    // Between the moves: something is of then, something of today.
    const moves = acts.flatMap((name, index) => (name === 'move' ? [index + 1] : []));
    expect((await killAt(moves[1] ?? 0)).signal).toBe('SIGKILL');
    const left = (): Promise<string> => execa('find', [`${data()}/state/restore`, '-printf', '%P %s %T@ %i\n']).then((found) => found.stdout);
    const before = await left();
    expect(before).toContain('plan.json');
    const dry = await place.run(['restore', archive, '--dry-run', '--json']);
    expect(JSON.parse(dry.out.trim().split('\n').at(-1) ?? '')).toMatchObject({ isWhole: true, undoesFirst: true });
    expect(await left()).toBe(before);
    expect(await readdir(`${data()}/state`)).not.toContain('backup');
    expect((await place.run(['start'])).code).toBe(0);
    expect(await days()).toEqual(['today', 'today', 'today']);
  });

  it('is as if it had not begun, or whole, after a kill before each of its acts', async () => {
    const all = (await killAt(0)).stderr.trimEnd().split('\n');
    expect(await days()).toEqual(['then', 'then', 'then']);
    const acts = all.flatMap((name, index) => (name === all[index - 1] && name === all[index - 2] && name === all[index + 1] ? [] : [index + 1]));
    const ends = new Set<string>();
    for (const [turn, n] of acts.entries()) {
      await live('today');
      const killed = await killAt(n);
      expect(killed.signal, `act ${n}: ${all[n - 1]}`).toBe('SIGKILL');
      // Whatever comes next settles it.
      const next = await place.run(turn % 3 === 1 ? ['start'] : ['deploy']);
      expect(next.code, `after a kill before act ${n}: ${next.err}`).toBe(0);
      const found = await days();
      expect(new Set(found).size, `after a kill before act ${n} (${all[n - 1]}): ${found.join(' ')}`).toBe(1);
      ends.add(found[0] ?? '');
      expect(await readdir(`${data()}/state`)).not.toContain('restore');
      // Some of them are followed by another restore: what they left is in nobody's way.
      if (turn % 9 === 2) {
        expect(await place.run(['restore', archive, '--yes'])).toMatchObject({ code: 0, err: '' });
        expect(await days()).toEqual(['then', 'then', 'then']);
      }
    }
    expect(ends).toEqual(new Set(['today', 'then']));
    expect(await place.run(['verify'])).toMatchObject({ code: 0 });
  });

  it('has rooms on their way the moment that it is done, though LiveKit’s entry was lost with the former data', async () => {
    await live('today');
    const restoring = place.run(['restore', archive, '--yes']);
    // What goes on is carried over: it is not there at that moment. Of LiveKit's own accord it comes within two seconds.
    await until(() => withRedis(isBackOrLoses).catch(() => false), 60_000);
    expect(await restoring).toMatchObject({ code: 0, err: '' });
    expect(await withRedis((redis) => redis.hlen('nodes'))).toBe(1);
    expect(await place.run(['verify'])).toMatchObject({ code: 0 });
  });
});

/** Whether the archive's Redis is there; the one before it loses LiveKit's entry. */
async function isBackOrLoses(redis: Redis): Promise<boolean> {
  if ((await redis.get('day')) === 'then') return true;
  await redis.del('nodes');
  return false;
}
