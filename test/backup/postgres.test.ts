import { execa } from 'execa';
import { statfsSync } from 'node:fs';
import { chmod, mkdir, mkdtemp, readFile, readdir, readlink, rename, rm, stat, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Redis } from 'ioredis';
import pg from 'pg';
import { afterAll, afterEach, beforeAll, describe, expect, inject, it } from 'vitest';
import { brokenLivekit, createInstallation, until, untilWell } from '../e2e/installation.ts';
import type { Installation, Ran } from '../e2e/installation.ts';
import { runMortal } from '../e2e/run-mortal.ts';
import { createCluster, password } from '../postgres/cluster.ts';
import type { Cluster } from '../postgres/cluster.ts';
import { askPostgres } from '../service/fixtures.ts';
import { archiveOf, cutOff, databaseOf, flipIn, headOf } from './archives.ts';

const command = resolve(import.meta.dirname, '../../部署.sh');

/** Tells one start of Redis from another. */
async function runOf(redis: Redis): Promise<string | undefined> {
  return /^run_id:(\w+)/m.exec(await redis.info('server'))?.[1];
}

/** A machine whose service keeps its data in PostgreSQL: backup, restore and what can go wrong with it. One story; the order matters. */
describe.runIf(process.getuid?.() === 0)('with DATABASE_URL', () => {
  let cluster: Cluster;
  let place: Installation;
  let url = '';
  let archive = '';
  let fingerprint = '';
  const state = (): string => `${place.folder}/data/state`;
  const env = (): Promise<string> => readFile(place.envFile, 'utf8');

  /** Says in PostgreSQL and the settings which day it is. */
  async function live(day: 'then' | 'today'): Promise<void> {
    await askPostgres(url, `DELETE FROM events; INSERT INTO events (at, id, room, room_key, event, received_at, body) VALUES (1, '${day}', '', 0, 'x', 1, '')`);
    await writeFile(place.envFile, (await env()).replace(/^DRAIN_TIMEOUT=.*$/m, `DRAIN_TIMEOUT=${day === 'then' ? 1 : 2}`));
  }
  /** Which day it is there; what LiveKit tells late, of the meeting that verify held, says nothing of it. */
  async function days(): Promise<string[]> {
    const rows = await askPostgres(url, `SELECT id FROM events WHERE id IN ('then', 'today')`);
    return [rows.map(({ id }) => String(id)).join(), (await env()).includes('DRAIN_TIMEOUT=1') ? 'then' : 'today'];
  }
  const undone = async (): Promise<string[]> => (await readdir(`${state()}/undone-restore`)).map((name) => `${state()}/undone-restore/${name}`);
  const pids = async (): Promise<string[]> =>
    (JSON.parse((await place.run(['status', '--json'])).out) as { parts: Array<{ part: string; pid: number }> }).parts.map(({ part, pid }) => `${part} ${pid}`);
  const livekitPid = async (): Promise<string | undefined> => (await pids()).find((one) => one.startsWith('livekit '));

  async function withRedis<T>(work: (redis: Redis) => Promise<T>): Promise<T> {
    const redisPassword = /^REDIS_PASSWORD=(.*)$/m.exec(await env())?.[1] ?? '';
    const redis = new Redis({ host: '127.0.0.1', port: place.ports['REDIS_PORT'] ?? 0, password: redisPassword, retryStrategy: () => null });
    redis.on('error', () => undefined);
    try {
      return await work(redis);
    } finally {
      redis.disconnect();
    }
  }

  async function refused(code: string, run: () => Promise<Ran>): Promise<Record<string, unknown>> {
    const before = await pids();
    const said = JSON.parse((await run()).out) as Record<string, unknown>;
    expect(said).toMatchObject({ error: code });
    expect(await pids()).toEqual(before);
    expect(await days()).toEqual(['today', 'today']);
    expect(await readdir(state())).not.toContain('restore');
    expect(await readdir(state())).not.toContain('backup');
    return said;
  }

  beforeAll(async () => {
    cluster = await createCluster({ lines: ['fsync = off'] });
    await cluster.start();
    url = await cluster.createDatabase('fleet');
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore'), DRAIN_TIMEOUT: '1', DATABASE_URL: url });
    await mkdir(`${place.folder}/data`);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=160m,mode=755', 'tmpfs', `${place.folder}/data`]);
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    await live('then');
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await execa('umount', [`${place.folder}/data`], { reject: false });
    await place.remove();
    await cluster.remove();
  });

  // What one test leaves when it fails is in no other's way.
  afterEach(async ({ task }) => {
    if (task.result?.state !== 'fail') return;
    await rm(`${state()}/filler`, { force: true });
    await cluster.stop();
    await cluster.start();
    await askPostgres(url, 'DROP EVENT TRIGGER IF EXISTS forbidding; DROP FUNCTION IF EXISTS forbid(); DROP VIEW IF EXISTS of_somebody');
    await place.run(['deploy']);
    await askPostgres(url, 'DELETE FROM tokens');
    await live('today');
    await rm(`${state()}/undone-restore`, { recursive: true, force: true });
  });

  it('a backup has the tables, counted and proved, and the password nowhere but in settings', async () => {
    expect(JSON.parse((await place.run(['backup', '--dry-run', '--json'])).out)).toMatchObject({
      members: expect.arrayContaining(['postgres.dump']) as unknown,
    });
    const done = await place.run(['backup', '--verify', '--json', '--to', `${place.folder}/kept`]);
    expect(done).toMatchObject({ code: 0, err: '' });
    const said = JSON.parse(done.out) as { path: string };
    expect(said).toMatchObject({ isProved: true, counts: { databases: { 'postgres.dump': { rows: { events: 1, schema_version: 1 } } } } });
    archive = said.path;
    fingerprint = (JSON.parse((await place.run(['restore', archive, '--dry-run', '--json'])).out) as { fingerprint: string }).fingerprint;
    const folder = await mkdtemp(`${place.folder}/unpacked-`);
    await execa('tar', ['--zstd', '-xf', archive, '-C', folder]);
    // Anybody's pg_restore reads it.
    expect((await execa('pg_restore', ['--file=-', `${folder}/postgres.dump`])).stdout).toContain('then');
    const others = (await readdir(folder)).filter((name) => !['env', 'config'].includes(name));
    expect(others).toContain('postgres.dump');
    for (const secret of [password, encodeURIComponent(password)]) {
      expect((await execa('grep', ['-rlF', secret, ...others], { cwd: folder, reject: false })).stdout).toBe('');
      expect((await execa('grep', ['-rlF', secret, `${place.folder}/data/logs`], { reject: false })).stdout).toBe('');
      expect(done.out + done.err).not.toContain(secret);
    }
    await live('today');
  });

  it('a restore brings them back, keeps what stood there, and no meeting ends', async () => {
    const before = await livekitPid();
    const other = new pg.Client({ connectionString: url, application_name: 'livekit-fleet' });
    await other.connect();
    const done = await place.run(['restore', archive, '--yes']);
    await other.end();
    expect(done).toMatchObject({ code: 0, err: '' });
    expect(done.out).toContain(`PostgreSQL at 127.0.0.1:${cluster.port}/fleet`);
    expect(done.out).toContain('Other services have 1 connections');
    expect(await days()).toEqual(['then', 'then']);
    expect(await livekitPid()).toBe(before);
    const kept = `${state()}/before-restore/postgres.dump`;
    expect((await stat(kept)).mode & 0o777).toBe(0o600);
    expect((await execa('pg_restore', ['--file=-', kept])).stdout).toContain('today');
    await until(async () => (await place.run(['verify'])).code === 0, 20_000);
    await live('today');
  });

  it('says which programs are missing, or too old, with nothing changed', async () => {
    const folder = await mkdtemp(`${place.folder}/programs-`);
    await chmod(folder, 0o755);
    await execa('cp', [(await execa('sh', ['-c', 'ls /usr/lib/postgresql/*/bin/psql | tail -1'])).stdout, `${folder}/psql`]);
    for (const name of ['pg_dump', 'pg_restore']) await writeFile(`${folder}/${name}`, `#!/bin/sh\necho '${name} (PostgreSQL) 12.22'\n`, { mode: 0o755 });
    const hidden = async (script: string, words: readonly string[]): Promise<Ran> => {
      const hide = `mount -t tmpfs tmpfs /usr/lib/postgresql && ${script} && exec "$0" "$@"`;
      const all = ['-m', 'sh', '-c', hide, command, ...words, '--json', '--env', place.envFile];
      const result = await execa('unshare', all, { env: { LANG: 'C' }, reject: false });
      return { code: result.exitCode ?? -1, out: result.stdout, err: result.stderr };
    };
    const version = Number((await cluster.ask('SHOW server_version_num'))[0]?.['server_version_num']);
    const name = `postgresql-client-${Math.floor(version / 10_000)}`;
    const old = `mkdir -p /usr/lib/postgresql/12 && ln -s ${folder} /usr/lib/postgresql/12/bin`;
    for (const words of [['backup'], ['restore', archive, '--yes']]) {
      expect(await refused('DATABASE_CLIENT_MISSING', () => hidden('true', words))).toMatchObject({ package: name });
      expect(await refused('DATABASE_CLIENT_OLD', () => hidden(old, words))).toMatchObject({ found: 12, package: name });
    }
    expect(await readdir(`${place.folder}/data/backups`).catch(() => [])).toEqual([]);
  });

  it('refuses what the service would not use, and a dump that is damaged', async () => {
    const file = `${place.folder}/changed`;
    const none = { redis: null, databases: {} };
    const sqlite = await databaseOf(3);
    await writeFile(
      file,
      await archiveOf(headOf({ fingerprint, machine: 'another' }), { 'service.db': sqlite.bytes }, { ...none, databases: { 'service.db': sqlite.counts } }),
    );
    await refused('RESTORE_OTHER_DATABASE', () => place.run(['restore', file, '--yes', '--json']));
    const folder = await mkdtemp(`${place.folder}/unpacked-`);
    await execa('tar', ['--zstd', '-xf', archive, '-C', folder]);
    const dump = await readFile(`${folder}/postgres.dump`);
    const databases = { 'postgres.dump': { schema: 4, rows: { events: 1 } } };
    const head = headOf({ fingerprint, machine: 'another', format: 2 });
    for (const bytes of [dump.subarray(0, 900), Buffer.from('no dump')]) {
      await writeFile(file, await archiveOf(head, { 'postgres.dump': bytes }, { ...none, databases }));
      await refused('BACKUP_DAMAGED', () => place.run(['restore', file, '--yes', '--json']));
    }
    const whole = await readFile(archive);
    const cut = [1, 2, 3, 4, 5, 6, 7, 8, 9].map((tenth) => cutOff(whole, tenth));
    for (const bytes of [...cut, flipIn(whole, 'postgres.dump', 0), flipIn(whole, 'postgres.dump', 0.5), flipIn(whole, 'postgres.dump', 1)]) {
      await writeFile(file, bytes);
      expect(JSON.parse((await place.run(['restore', file, '--yes', '--json'])).out)).toMatchObject({ error: 'BACKUP_DAMAGED' });
    }
    await writeFile(file, await archiveOf(head, { 'postgres.dump': dump }, { ...none, databases: { 'postgres.dump': { schema: 4, rows: { events: 2 } } } }));
    await refused('BACKUP_DAMAGED', () => place.run(['restore', file, '--yes', '--json']));
    await writeFile(file, await archiveOf(head, { 'postgres.dump': dump }, { ...none, databases: { 'postgres.dump': { schema: 4, rows: {}, madeWith: 99 } } }));
    expect(await refused('DATABASE_CLIENT_OLD', () => place.run(['restore', file, '--yes', '--json']))).toMatchObject({ package: 'postgresql-client-99' });
    // The role may read, and nothing else; or there is nobody.
    await askPostgres(url, `CREATE ROLE reader LOGIN PASSWORD 'x'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO reader`);
    await writeFile(file, await archiveOf(head, { 'postgres.dump': dump }, { ...none, databases }));
    const as = (change: (given: URL) => void): Record<string, string> => {
      const other = new URL(url);
      change(other);
      return { DATABASE_URL: other.href };
    };
    const reader = as((other) => {
      other.username = 'reader';
      other.password = 'x';
    });
    await refused('RESTORE_DATABASE_RIGHTS', () => place.run(['restore', file, '--yes', '--json'], reader));
    await askPostgres(url, 'CREATE VIEW of_somebody AS SELECT * FROM rooms');
    expect(await refused('RESTORE_DATABASE_USED', () => place.run(['restore', file, '--yes', '--json']))).toMatchObject({ objects: 'view of_somebody' });
    await askPostgres(url, 'DROP VIEW of_somebody');
    const elsewhere = as((other) => other.searchParams.set('options', '-c search_path=other'));
    await askPostgres(url, 'CREATE SCHEMA other');
    expect(await refused('RESTORE_DATABASE_SCHEMA', () => place.run(['restore', file, '--yes', '--json'], elsewhere))).toMatchObject({
      was: 'public',
      now: 'other',
    });
    await refused('DATABASE_UNREACHABLE', () =>
      place.run(
        ['restore', file, '--yes', '--json'],
        as((other) => (other.port = '1')),
      ),
    );
    await refused('DATABASE_UNREACHABLE', () =>
      place.run(
        ['backup', '--json'],
        as((other) => (other.port = '1')),
      ),
    );
  });

  it('says that a database without the service’s tables is not the one', async () => {
    const other = await cluster.createDatabase('empty');
    for (const words of [['backup'], ['backup', '--dry-run']])
      expect(await refused('BACKUP_DATABASE_EMPTY', () => place.run([...words, '--json'], { DATABASE_URL: other }))).toMatchObject({ schema: 'public' });
    expect(await readdir(`${place.folder}/data/backups`).catch(() => [])).toEqual([]);
  });

  it('what stood there is back after a failure in the middle, and when a part does not become well', async () => {
    // Whoever has a trigger of his own on what is made there may forbid it.
    await askPostgres(
      url,
      `CREATE FUNCTION forbid() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN RAISE EXCEPTION ''no table today''; END';
       CREATE EVENT TRIGGER forbidding ON ddl_command_start WHEN TAG IN ('CREATE TABLE') EXECUTE FUNCTION forbid()`,
    );
    const before = await withRedis(runOf);
    const failing = place.run(['restore', archive, '--yes', '--json']);
    // LiveKit's entry is lost with the Redis that goes: of LiveKit's own accord it is there again within two seconds.
    const isBack = async (redis: Redis): Promise<boolean> => (await runOf(redis)) !== before || (await redis.del('nodes'), false);
    await until(() => withRedis(isBack).catch(() => false), 60_000);
    const failed = JSON.parse((await failing).out) as Record<string, unknown>;
    expect(await withRedis((redis) => redis.hlen('nodes'))).toBe(1);
    expect(failed).toMatchObject({ error: 'RESTORE_DATABASE_FAILED', reason: expect.stringContaining('no table today') as unknown });
    expect(await days()).toEqual(['today', 'today']);
    await untilWell(() => place.run(['status']));
    // Nobody had written into it.
    expect(await readdir(state())).not.toContain('undone-restore');
    await askPostgres(url, 'DROP EVENT TRIGGER forbidding; DROP FUNCTION forbid()');
    // There is space for the archive, and none to keep aside what stands in PostgreSQL.
    await askPostgres(url, `INSERT INTO tokens (id, name, sha256, scopes, created_at) SELECT n, '', n, repeat('x', 1000), 0 FROM generate_series(1, 25000) n`);
    const { bavail, bsize } = statfsSync(state());
    await execa('fallocate', ['-l', String(bavail * bsize - 22_000_000), `${state()}/filler`]);
    const full = JSON.parse((await place.run(['restore', archive, '--yes', '--json'])).out) as Record<string, unknown>;
    await rm(`${state()}/filler`);
    expect(full).toMatchObject({ error: 'DISK_FULL', path: `${state()}/restore/former/postgres.dump` });
    expect(await days()).toEqual(['today', 'today']);
    expect(await readdir(state())).not.toContain('restore');
    await untilWell(() => place.run(['status']));
    await askPostgres(url, 'DELETE FROM tokens');
    // The connection is lost while the tables are being replaced.
    const reader = new pg.Client({ connectionString: url });
    await reader.connect();
    await reader.query('BEGIN; SELECT * FROM rooms');
    const lost = place.run(['restore', archive, '--yes', '--json']);
    const waiting = `FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted`;
    await until(async () => (await cluster.ask(`SELECT 1 ${waiting}`)).length > 0, 60_000);
    await cluster.ask(`SELECT pg_terminate_backend(pid) ${waiting}`);
    await reader.end();
    expect(JSON.parse((await lost).out)).toMatchObject({ error: 'RESTORE_DATABASE_FAILED' });
    expect(await days()).toEqual(['today', 'today']);
    await untilWell(() => place.run(['status']));
    await writeFile(`${place.folder}/broken`, brokenLivekit, { mode: 0o755 });
    const sick = await place.run(['restore', archive, '--yes'], { LIVEKIT_PATH: `${place.folder}/broken`, HEALTH_TIMEOUT: '3' });
    expect(sick.code).toBe(1);
    expect(sick.out).toContain('What stood before the restore is back');
    expect((await place.run(['deploy'])).code).toBe(0);
    expect(await days()).toEqual(['today', 'today']);
    expect(await undone()).toHaveLength(1);
    await rm(`${state()}/undone-restore`, { recursive: true });
  });

  it('says what is stopped, and where everything is, when what stood before cannot be put back either; the next command goes on', async () => {
    const restoring = place.run(['restore', archive, '--yes', '--json'], { LIVEKIT_PATH: `${place.folder}/broken`, HEALTH_TIMEOUT: '5' });
    // While its parts become well, or not, somebody makes the undo impossible.
    await until(async () => (await days().catch(() => []))[0] === 'then', 60_000);
    await askPostgres(url, 'CREATE VIEW of_somebody AS SELECT * FROM rooms');
    const failed = await restoring;
    const said = JSON.parse(failed.out.trim().split('\n').at(-1) ?? '') as Record<string, string>;
    expect(said).toMatchObject({
      error: 'RESTORE_UNDO_FAILED',
      first: expect.stringContaining('livekit') as unknown,
      reason: expect.stringContaining('of_somebody') as unknown,
      path: expect.stringContaining(`${state()}/restore/former`) as unknown,
    });
    expect(said['stopped']?.split(', ')).toEqual(expect.arrayContaining(['service', 'redis']));
    expect((await place.run(['status'])).out).toContain('broken off');
    expect(JSON.parse((await place.run(['start', '--json'])).out)).toMatchObject({ error: 'RESTORE_UNDO_FAILED', first: 'it was broken off' });
    await askPostgres(url, 'DROP VIEW of_somebody');
    expect(await place.run(['start'])).toMatchObject({ code: 0 });
    expect((await place.run(['deploy'])).code).toBe(0);
    expect(await days()).toEqual(['today', 'today']);
    await rm(`${state()}/undone-restore`, { recursive: true });
  });

  it('is as it was after a kill while the tables are being replaced', async () => {
    const reader = new pg.Client({ connectionString: url });
    await reader.connect();
    await reader.query('BEGIN; SELECT * FROM rooms');
    const killed = killAt(-1);
    await until(async () => (await cluster.ask(`SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted`)).length > 0, 60_000);
    expect(await readdir(`${state()}/restore/former`)).toContain('postgres.dump');
    killed.kill('SIGKILL');
    await killed;
    await reader.end();
    expect(await place.run(['start'])).toMatchObject({ code: 0 });
    expect(await days()).toEqual(['today', 'today']);
    expect(await readdir(state())).not.toContain('restore');
  });

  const killAt = (n: number) => runMortal(`${import.meta.dirname}/restore-killed-at.ts`, [place.envFile, archive, String(n)]);

  it('is as it was, or restored as a whole, after a kill before any of its acts', async () => {
    const all = (await killAt(0)).stderr.trimEnd().split('\n');
    expect(await days()).toEqual(['then', 'then']);
    const acts = all.flatMap((name, index) => (name === all[index - 1] && name === all[index - 2] && name === all[index + 1] ? [] : [index + 1]));
    const ends = new Set<string>();
    // What all restores do has its own test; the last acts are where the new one counts.
    for (const n of acts.filter((_, index) => index % 3 === 0 || index > acts.length - 6)) {
      await live('today');
      const killed = await killAt(n);
      expect(killed.signal, `act ${n}: ${all[n - 1]}`).toBe('SIGKILL');
      const next = await place.run(['start']);
      expect(next.code, `after a kill before act ${n}: ${next.err}`).toBe(0);
      const found = await days();
      expect(new Set(found).size, `after a kill before act ${n} (${all[n - 1]}): ${found.join(' ')}`).toBe(1);
      ends.add(found[0] ?? '');
      expect(await readdir(state())).not.toContain('restore');
    }
    expect(ends).toEqual(new Set(['today', 'then']));
    expect((await place.run(['deploy'])).code).toBe(0);
  });

  it('keeps what was written since, where a restore was broken off right before it was complete, and says so', async () => {
    await rm(`${state()}/undone-restore`, { recursive: true, force: true });
    const all = (await killAt(0)).stderr.trimEnd().split('\n');
    await live('today');
    // Where it writes down that it is complete.
    expect((await killAt(all.lastIndexOf('write') + 1)).signal).toBe('SIGKILL');
    expect(await days()).toEqual(['then', 'then']);
    // Nobody notices, and the service goes on for a while.
    await live('then');
    await askPostgres(url, `INSERT INTO events (at, id, room, room_key, event, received_at, body) VALUES (2, 'since', '', 0, 'x', 1, '')`);
    const status = await place.run(['status']);
    expect(status.code).toBe(1);
    expect(status.out).toContain('was broken off before it was complete');
    expect(status.out).toContain('./部署.sh start');
    expect(JSON.parse((await place.run(['status', '--json'])).out)).toMatchObject({ ok: false, restores: { isUnfinished: true, undone: [] } });
    // PostgreSQL has been killed as well, and comes back while it is waited for.
    await cluster.kill();
    expect(JSON.parse((await place.run(['deploy', '--json'], { HEALTH_TIMEOUT: '2' })).out)).toMatchObject({
      error: 'RESTORE_UNDO_FAILED',
      reason: expect.stringContaining('PostgreSQL') as unknown,
      stopped: '-',
    });
    const deploying = place.run(['deploy']);
    await until(async () => (await readlink(`${place.folder}/data/lock`).catch(() => '')).includes('deploy'), 20_000);
    await cluster.start();
    const deployed = await deploying;
    expect(deployed).toMatchObject({ code: 0 });
    expect(await days()).toEqual(['today', 'today']);
    const [kept = ''] = await undone();
    expect(deployed.out).toContain(kept);
    expect((await execa('pg_restore', ['--file=-', `${kept}/postgres.dump.undone`])).stdout).toContain('since');
    expect(await readFile(`${kept}/env.undone`, 'utf8')).toContain('DRAIN_TIMEOUT=1');
    // Caddy had nothing that was not the same.
    expect((await readdir(kept)).toSorted()).toEqual(['env.undone', 'postgres.dump.undone', 'redis.undone']);
    await untilWell(() => place.run(['status']));
    expect((await place.run(['status'])).out).toContain(`${state()}/undone-restore`);
    await rm(`${state()}/undone-restore`, { recursive: true });
  });

  /** A restore that is killed right before it is complete: all of it is in use. */
  async function breakOff(): Promise<void> {
    await rm(`${state()}/undone-restore`, { recursive: true, force: true });
    await live('today');
    const all = (await killAt(0)).stderr.trimEnd().split('\n');
    await live('today');
    expect((await killAt(all.lastIndexOf('write') + 1)).signal).toBe('SIGKILL');
    expect(await days()).toEqual(['then', 'then']);
  }
  const keptDump = async (): Promise<string> => {
    const [kept = ''] = await undone();
    return (await execa('pg_restore', ['--file=-', `${kept}/postgres.dump.former.undone`])).stdout;
  };

  it('leaves tables that another machine has restored since, and the dump of those that stood before', async () => {
    await breakOff();
    await askPostgres(url, `COMMENT ON TABLE schema_version IS 'livekit-fleet restore of-another-machine'`);
    const started = await place.run(['start']);
    expect(started).toMatchObject({ code: 0 });
    expect(started.out).toContain('Another machine has restored the tables in PostgreSQL since');
    expect(started.out).toContain('postgres.dump.former.undone');
    expect(await days()).toEqual(['then', 'today']);
    expect(await keptDump()).toContain('today');
    await askPostgres(url, `COMMENT ON TABLE schema_version IS NULL`);
  });

  it('puts back the rest without a PostgreSQL that is gone for good, where a person says so', async () => {
    await breakOff();
    const file = `${state()}/restore/plan.json`;
    const plan = JSON.parse(await readFile(file, 'utf8')) as object;
    // Redis's exchange is undone first: nothing is beside its data any more.
    await writeFile(file, JSON.stringify({ ...plan, exchangeId: 'an-id' }));
    await askPostgres(url, 'CREATE VIEW of_somebody AS SELECT * FROM rooms');
    const failed = await place.run(['start', '--json']);
    const said = JSON.parse(failed.out.trim().split('\n').at(-1) ?? '') as Record<string, string>;
    expect(said).toMatchObject({ error: 'RESTORE_UNDO_FAILED', path: `${state()}/restore/former` });
    expect(said['reason']).toMatch(/of_somebody/);
    expect(said['reason']).not.toMatch(/as they were/);
    await writeFile(file, JSON.stringify(plan));
    await askPostgres(url, 'DROP VIEW of_somebody');
    await cluster.kill();
    try {
      const done = await place.run(['restore', archive, '--alone', '--yes'], { HEALTH_TIMEOUT: '2' });
      // The archive's own need PostgreSQL.
      expect(done.err).toContain('cannot be used');
      expect(done.out).toContain('PostgreSQL cannot be brought back to where it was before the restore, and is given up');
    } finally {
      await cluster.start();
    }
    expect(await readdir(state())).not.toContain('restore');
    expect((await place.run(['deploy'])).code).toBe(0);
    expect(await days()).toEqual(['then', 'today']);
    expect(await keptDump()).toContain('today');
    await rm(`${state()}/undone-restore`, { recursive: true });
  });

  it('does not keep a machine from being given up, whose parts it has stopped', async () => {
    await breakOff();
    await cluster.kill();
    try {
      expect(await place.run(['uninstall', '--yes'], { HEALTH_TIMEOUT: '2' })).toMatchObject({ code: 0 });
    } finally {
      await cluster.start();
    }
    expect(await keptDump()).toContain('today');
    await rm(`${state()}/undone-restore`, { recursive: true });
    expect((await place.run(['deploy'])).code).toBe(0);
  });

  it('on a new machine the tables that are there stay, and come back where there are none', async () => {
    const kept = `${place.folder}/kept.tar.zst`;
    await rename(archive, kept);
    await live('today');
    await place.run(['stop']);
    await execa('umount', [`${place.folder}/data`]);
    await rm(`${place.folder}/data`, { recursive: true });
    await rm(place.envFile);
    const stays = await place.run(['restore', kept, '--yes']);
    expect(stays).toMatchObject({ code: 0, err: '' });
    expect(stays.out).toContain('they stay as they are');
    expect(await days()).toEqual(['today', 'then']);
    // Asked for once more, on the machine that is deployed now.
    expect(await place.run(['restore', kept, '--yes'])).toMatchObject({ code: 0, err: '' });
    expect(await days()).toEqual(['then', 'then']);
    await place.run(['stop']);
    await rm(`${place.folder}/data`, { recursive: true });
    await rm(place.envFile);
    await cluster.dropDatabase('fleet');
    await cluster.createDatabase('fleet');
    expect(await place.run(['restore', kept, '--yes'])).toMatchObject({ code: 0, err: '' });
    expect(await days()).toEqual(['then', 'then']);
    await until(async () => (await place.run(['verify'])).code === 0, 20_000);
  });
});
