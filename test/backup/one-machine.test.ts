import { execa } from 'execa';
import { Redis } from 'ioredis';
import { copyFile, mkdir, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { createInstallation, untilWell } from '../e2e/installation.ts';
import type { Installation } from '../e2e/installation.ts';
import { runMortal } from '../e2e/run-mortal.ts';

/** Backup and restore on one machine, through the commands. One story; the order matters. */
describe('backup and restore', () => {
  let place: Installation;
  let archive = '';
  const data = (): string => `${place.folder}/data`;
  const password = async (): Promise<string> => /^REDIS_PASSWORD=(.*)$/m.exec(await readFile(place.envFile, 'utf8'))?.[1] ?? '';
  async function withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const redis = new Redis({ host: '127.0.0.1', port: place.ports['REDIS_PORT'] ?? 0, password: await password() });
    try {
      return await work(redis);
    } finally {
      redis.disconnect();
    }
  }
  const events = (folder = data()): number => {
    using db = new DatabaseSync(`${folder}/state/service/service.db`, { readOnly: true });
    return Number(db.prepare('SELECT count(*) AS n FROM events').get()?.['n']);
  };
  const addEvents = (count: number): void => {
    using db = new DatabaseSync(`${data()}/state/service/service.db`);
    const add = db.prepare("INSERT INTO events (at, id, room, room_key, event, received_at, body) VALUES (?, ?, 'r', 0, 'room_started', 1, '{}')");
    for (let number = 0; number < count; number++) add.run(Date.now(), `EV_${Math.random()}`);
  };

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    await withRedis(async (redis) => {
      await redis.hset('sip_trunk', 'ST_1', 'trunk');
      await redis.set('of-yesterday', 'x', 'EX', 100_000);
      await redis.hset('rooms', 'ghost', 'of then');
    });
    addEvents(100);
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it('writes an archive that only root reads, and proves it', async () => {
    const done = await place.run(['backup', '--verify', '--json']);
    expect(done).toMatchObject({ code: 0, err: '' });
    const said = JSON.parse(done.out) as { path: string; bytes: number; isProved: boolean; counts: unknown };
    archive = said.path;
    expect(said.isProved).toBe(true);
    const info = await stat(archive);
    expect(info.mode & 0o777).toBe(0o600);
    expect(info.size).toBe(said.bytes);
    expect(said.counts).toMatchObject({ databases: { 'service.db': { rows: { events: 100 } } } });
    expect(await readdir(`${data()}/backups`)).toEqual([archive.split('/').at(-1)]);
    expect(await readdir(`${data()}/state`)).not.toContain('backup');
  });

  it('finds it by its bare name where backups are kept, proves it once more, and says where it is damaged', async () => {
    const name = archive.split('/').at(-1) ?? '';
    const proved = await place.run(['backup', '--verify', name, '--json']);
    expect(JSON.parse(proved.out)).toMatchObject({ path: archive, isProved: true, counts: { databases: { 'service.db': { rows: { events: 100 } } } } });
    expect((await place.run(['backup', '--verify', name])).out).toMatch(/^Proved: Redis keys \d+, rooms 0, events 100/m);
    expect(JSON.parse((await place.run(['restore', name, '--dry-run', '--json'])).out)).toMatchObject({ path: archive, isWhole: true });
    const bytes = await readFile(archive);
    const cut = archive.replace(/-\d{8}T/, '-20200101T');
    await writeFile(cut, bytes.subarray(0, bytes.length / 2));
    expect(JSON.parse((await place.run(['backup', '--verify', cut.split('/').at(-1) ?? '', '--json'])).out)).toMatchObject({
      error: 'BACKUP_DAMAGED',
      path: cut,
    });
    await rm(cut);
    expect(await readdir(`${data()}/state`)).not.toContain('backup');
    expect(JSON.parse((await place.run(['backup', '--verify', name.replace('.tar', '.tor'), '--json'])).out)).toMatchObject({ error: 'BACKUP_NOT_FOUND' });
  });

  it('makes no folder but the last one of a path, and says that it did', async () => {
    const typo = await place.run(['backup', '--to', `${place.folder}/mnt/backups`]);
    expect([typo.code, typo.err.includes(`mkdir -p ${place.folder}/mnt`)]).toEqual([2, true]);
    await expect(stat(`${place.folder}/mnt`)).rejects.toThrow('ENOENT');
    const made = await place.run(['backup', '--to', `${place.folder}/mnt`]);
    expect(made).toMatchObject({ code: 0, err: '' });
    expect(made.out).toContain(`Made the folder ${place.folder}/mnt\n`);
    const again = await place.run(['backup', '--to', `${place.folder}/mnt`, '--prune', '--keep', '1']);
    expect(again.out).not.toContain('Made the folder');
    expect(await readdir(`${place.folder}/mnt`)).toHaveLength(1);
  });

  it('brings back what was lost since, and keeps what is of the moment', async () => {
    await withRedis(async (redis) => {
      await redis.del('sip_trunk');
      await redis.set('of-today', '1');
      await redis.hdel('rooms', 'ghost');
      await redis.hset('rooms', 'alive', 'now');
    });
    addEvents(7);
    await rm(`${data()}/state/caddy/pki`, { recursive: true });
    await writeFile(place.envFile, (await readFile(place.envFile, 'utf8')).replace(/^HEALTH_TIMEOUT=.*$/m, 'HEALTH_TIMEOUT=31'));
    const livekit = async (): Promise<unknown> =>
      (JSON.parse((await place.run(['status', '--json'])).out) as { parts: Array<{ part: string; pid: number }> }).parts.find((one) => one.part === 'livekit')
        ?.pid;
    const before = await livekit();
    const done = await place.run(['restore', archive, '--yes']);
    expect(done).toMatchObject({ code: 0, err: '' });
    expect(events()).toBe(100);
    await withRedis(async (redis) => {
      expect(await redis.hget('sip_trunk', 'ST_1')).toBe('trunk');
      expect(await redis.get('of-yesterday')).toBe('x');
      expect(await redis.ttl('of-yesterday')).toBeGreaterThan(90_000);
      expect(await redis.get('of-today')).toBeNull();
      expect(await redis.hgetall('rooms')).toMatchObject({ alive: 'now' });
      expect(await redis.hexists('rooms', 'ghost')).toBe(0);
      expect(await redis.hlen('nodes')).toBe(1);
    });
    expect(await livekit()).toBe(before);
    expect(await readFile(place.envFile, 'utf8')).toContain('HEALTH_TIMEOUT=30');
    await untilWell(() => place.run(['status']));
    const { code, out, err } = await place.run(['verify']);
    expect(code, `${out} ${err}`).toBe(0);
  });

  it('is not well after a backup that failed, in status alone, until one succeeds, also by hand; and says so in Chinese too', async () => {
    const last = `${data()}/run/backups.last`;
    onTestFinished(() => rm(last, { force: true }));
    const failed = '✗ the backup of 2026-01-02T03:04:05Z failed (see logs backups)';
    for (const said of [failed, 'refused: /x can be changed by others than root']) {
      await writeFile(last, `${said}\n`);
      await sickOf(said);
      // Nothing that a deploy could mend, or would have to wait for; nor does the part forget it.
      for (const words of [['deploy'], ['restart', 'agent'], ['restart', 'backups']]) expect((await place.run(words)).code, words.join(' ')).toBe(0);
      await sickOf(said);
    }
    await writeFile(last, `${failed}\n`);
    const chinese = await place.run(['status', '--lang', 'zh']);
    expect(chinese.out).toMatch(/2026-01-02T03:04:05Z 的备份失败（请看 logs backups）；下次备份 [\dT:-]+Z/);
    const names =
      /redis|sentinel|livekit|service|agent|caddy|backups|logs|pid|PONG|HTTP|Redis|Sentinel|LiveKit|Caddy|Local Authority|ECC Intermediate|localhost|m127-0-0-1|s(?= )|\b\d{4}-\d\d-\d\d(T[\d:]+Z)?\b/g;
    expect(chinese.out.replaceAll(names, '')).not.toMatch(/[A-Za-z]{2,}/);
    // Elsewhere it says nothing of the place that was asked for.
    expect((await place.run(['backup', '--to', `${place.folder}/mnt`])).code).toBe(0);
    await sickOf(failed);
    expect((await place.run(['backup'])).code).toBe(0);
    expect(await readFile(last, 'utf8')).toMatch(/^last backup \d{4}-\d\d-\d\dT[\d:]{8}Z\n$/);
    expect((await stat(last)).mode & 0o777).toBe(0o600);
    await untilWell(() => place.run(['status']));
  });

  async function sickOf(failed: string): Promise<void> {
    const { code, out } = await place.run(['status']);
    expect([code, out]).toEqual([1, expect.stringMatching(/^✗ backups /m) as unknown]);
    expect(out).toContain(failed.replace('✗ ', ''));
    const said = await place.run(['status', '--json']);
    expect([said.code, JSON.parse(said.out)]).toMatchObject([1, { ok: false }]);
    const detail = expect.stringContaining(`${failed}; next backup`) as unknown;
    expect((JSON.parse(said.out) as { parts: unknown[] }).parts).toContainEqual(
      expect.objectContaining({ part: 'backups', state: 'running', health: expect.objectContaining({ ok: false, detail }) as unknown }),
    );
  }

  it('is not backed up half restored', async () => {
    await mkdir(`${data()}/state/restore`);
    await writeFile(`${data()}/state/restore/plan.json`, JSON.stringify({ phase: 'swapping', parts: [], items: [], exchangeId: null }));
    const before = await readdir(`${data()}/backups`);
    expect(JSON.parse((await place.run(['backup', '--json'])).out)).toMatchObject({ error: 'RESTORE_UNFINISHED' });
    expect(await readdir(`${data()}/backups`)).toEqual(before);
    expect((await place.run(['start'])).code).toBe(0);
    expect(await readdir(`${data()}/state`)).not.toContain('restore');
  });

  it('goes on without a Redis that is gone for good where a person says so, and not before', async () => {
    await place.run(['stop']);
    await mkdir(`${data()}/state/restore`);
    await writeFile(`${data()}/state/restore/plan.json`, JSON.stringify({ phase: 'swapping', parts: [], items: [], exchangeId: 'an-id' }));
    const impatient = { HEALTH_TIMEOUT: '2' };
    for (const words of [['start'], ['restore', archive, '--yes']]) {
      const failed = await place.run([...words, '--json'], impatient);
      expect(JSON.parse(failed.out.trim().split('\n').at(-1) ?? ''), words.join(' ')).toMatchObject({
        error: 'RESTORE_UNDO_FAILED',
        path: expect.stringMatching(/, Redis db 1$/) as unknown,
      });
    }
    const done = await place.run(['restore', archive, '--alone', '--yes'], { HEALTH_TIMEOUT: '10' });
    expect(done).toMatchObject({ code: 0, err: '' });
    expect(done.out).toContain('Redis cannot be brought back to where it was before the restore, and is given up');
    expect(done.out).toContain('On this machine what stood before the restore is back');
    expect(events()).toBe(100);
    await untilWell(() => place.run(['status']));
  });

  it('comes back where nothing is, with its data elsewhere, and the next command finds them there', async () => {
    const kept = `${place.folder}/kept.tar.zst`;
    await copyFile(archive, kept);
    await place.run(['stop']);
    await rm(data(), { recursive: true });
    // Somebody has begun anew there, and has not deployed yet.
    await writeFile(place.envFile, `DATA_DIR=${data()}\nLIVEKIT_API_KEY=APIother\nLIVEKIT_API_SECRET=${'of-another-fleet'.repeat(3)}\n`);
    const refused = await place.run(['restore', kept, '--yes']);
    expect([refused.code, refused.err.includes(`mv ${place.envFile} ${place.envFile}.old`)]).toEqual([2, true]);
    // Where it says that it was refused.
    expect((await execa('find', [data(), '-type', 'f'])).stdout).toBe(`${data()}/logs/journal.jsonl`);
    await rm(data(), { recursive: true });
    await rm(place.envFile);
    const elsewhere = `${place.folder}/elsewhere`;
    const restored = await place.run(['restore', kept, '--yes'], { DATA_DIR: elsewhere });
    expect(restored).toMatchObject({ code: 0, err: '' });
    // All settings are new, and nothing stood there before.
    expect(restored.out).toMatch(new RegExp(`^Settings: \\d+, all of the backup, in ${place.envFile}$`, 'm'));
    expect(restored.out).not.toMatch(/Settings that are again|before-restore|not on this machine/);
    expect(await readdir(`${elsewhere}/state`)).not.toContain('before-restore');
    expect(await readFile(place.envFile, 'utf8')).toMatch(new RegExp(`^DATA_DIR=${elsewhere}$`, 'm'));
    expect(await readdir(`${elsewhere}/state`)).toContain('service');
    await expect(stat(data())).rejects.toThrow('ENOENT');
    await untilWell(() => place.run(['status']));
    await withRedis(async (redis) => expect(await redis.hget('sip_trunk', 'ST_1')).toBe('trunk'));
  });

  it('comes back there whole after a kill before any of its acts, by the same command', async () => {
    const kept = `${place.folder}/kept.tar.zst`;
    const where = { DATA_DIR: `${place.folder}/elsewhere` };
    const lose = async (): Promise<void> => {
      await place.run(['stop'], where);
      await rm(where.DATA_DIR, { recursive: true, force: true });
      await rm(place.envFile, { force: true });
    };
    const killAt = (n: number): Promise<{ stderr: string; signal?: string | undefined }> =>
      runMortal(`${import.meta.dirname}/restore-killed-at.ts`, [place.envFile, kept, String(n)], where);
    const secret = async (): Promise<string | undefined> => /^LIVEKIT_API_SECRET=(.+)$/m.exec(await readFile(place.envFile, 'utf8'))?.[1];
    const before = await secret();
    await lose();
    const acts = (await killAt(0)).stderr.trimEnd().split('\n');
    // Each of them is like its neighbours; the moves, in which it becomes another machine, are all there.
    const chosen = acts.flatMap((name, index) => (name === 'move' || index % 29 === 4 ? [index + 1] : []));
    for (const n of chosen) {
      await lose();
      expect((await killAt(n)).signal, `act ${n}: ${acts[n - 1]}`).toBe('SIGKILL');
      const done = await place.run(['restore', kept, '--yes'], where);
      expect(done.code, `after a kill before act ${n} (${acts[n - 1]}): ${done.err}`).toBe(0);
      expect(await secret()).toBe(before);
      expect(events(where.DATA_DIR)).toBe(100);
      await withRedis(async (redis) => expect(await redis.hget('sip_trunk', 'ST_1')).toBe('trunk'));
      expect(await readdir(`${where.DATA_DIR}/state`)).not.toContain('restore');
    }
  });
});
