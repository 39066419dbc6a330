import { execa } from 'execa';
import { mkdir, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { readFileSync, readdirSync } from 'node:fs';
import fc from 'fast-check';
import pg from 'pg';
import { afterAll, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import type { DatabaseCounts } from '../../src/backup/format.ts';
import { dumpDatabase } from '../../src/backup/postgres-dump.ts';
import { openPostgresExchange, undoPostgres } from '../../src/backup/postgres-exchange.ts';
import { reachPostgres } from '../../src/backup/postgres-facts.ts';
import { countDump, readScript } from '../../src/backup/postgres-script.ts';
import { openSession } from '../../src/backup/postgres-session.ts';
import type { Postgres } from '../../src/backup/postgres-session.ts';
import { SERVICE_FUNCTIONS, SERVICE_TABLES } from '../../src/contract/service-database.ts';
import { openStore } from '../../src/service/store/store.ts';
import type { Store } from '../../src/service/store/store.ts';
import { archiveOf, cutOff, flipIn, headOf, proveBytes, scratchFolder } from '../backup/archives.ts';
import { until } from '../e2e/installation.ts';
import { askPostgres } from '../service/fixtures.ts';
import { createCluster, password } from './cluster.ts';
import type { Cluster } from './cluster.ts';

const { signal } = new AbortController();
const user = { uid: 65_534, gid: 65_534 };
const onProgress = (): void => undefined;
/** No earlier restore, and space for everything. */
const none = {
  mark: '',
  onLost: (error: Error): never => {
    throw error;
  },
};
const room = (id: string): Parameters<Store['addRoom']>[0] => ({
  id,
  name: `a \\ tab\there, a line\nand \\.`,
  type: 'video',
  maxParticipants: 0,
  emptyTimeout: null,
  metadata: '\\.',
  createdAtMs: 1,
});

/** What backup and restore do with PostgreSQL, by its own programs, on a real server with a password. */
describe.runIf(process.getuid?.() === 0)('the service’s tables in PostgreSQL', () => {
  let cluster: Cluster;
  let folder: string;
  let url: string;
  let store: Store;
  let postgres: Postgres;
  let number = 0;

  beforeAll(async () => {
    const tls = ['ssl = on', `ssl_cert_file = '../server.crt'`, `ssl_key_file = '../server.key'`];
    cluster = await createCluster({ lines: ['fsync = off', 'log_statement = all', 'logging_collector = on', `log_directory = 'log'`, ...tls] });
    for (const name of ['server', 'other']) await cluster.makeCertificate(name);
    await cluster.start();
  });
  afterAll(() => cluster.remove());
  beforeEach(async () => {
    folder = await scratchFolder();
    url = await cluster.createDatabase(`fleet${(number += 1)}`);
    store = await openStore(url);
    ({ postgres } = await reachPostgres(url, { user, signal }));
    return async () => {
      await store.close();
      await rm(folder, { recursive: true });
    };
  });

  const dump = (name: string): Promise<DatabaseCounts> => dumpDatabase(postgres, { to: `${folder}/${name}`, signal, onProgress });
  async function put(name: string, { id = 'an-id', counts, former = 'former' }: { id?: string; counts: DatabaseCounts; former?: string }): Promise<void> {
    const exchange = await openPostgresExchange(postgres, signal);
    try {
      await exchange.save(`${folder}/${former}`, onProgress);
      await exchange.put(`${folder}/${name}`, { id, counts, onProgress });
    } finally {
      await exchange.close();
    }
  }
  const rows = async (): Promise<unknown[]> => Promise.all(SERVICE_TABLES.map((table) => askPostgres(url, `SELECT * FROM ${table} ORDER BY 1, 2`)));
  const structure = async (): Promise<string> => {
    const { stdout } = await execa(`${postgres.tools.folder}/pg_dump`, ['--schema-only', '--no-comments'], { env: { ...postgres.access.env } });
    return stdout.replaceAll(/^\\(un)?restrict .*$/gm, '');
  };
  async function fill(from: number, to: number): Promise<void> {
    for (let index = from; index < to; index++) await store.addRoom(room(`r${index}`));
  }

  it('are all that there are', async () => {
    const tables = await askPostgres(url, `SELECT relname AS name FROM pg_class WHERE relnamespace = 'public'::regnamespace AND relkind IN ('r', 'p')`);
    expect(tables.map(({ name }) => name).toSorted()).toEqual(SERVICE_TABLES.toSorted());
    const functions = await askPostgres(url, `SELECT proname AS name FROM pg_proc WHERE pronamespace = 'public'::regnamespace`);
    expect(functions.map(({ name }) => name).toSorted()).toEqual(SERVICE_FUNCTIONS.toSorted());
  });

  it('come back as they were: rows, keys, trigger, sequences and grants, and nothing else is touched', async () => {
    const role = `reader${number}`;
    await askPostgres(
      url,
      `CREATE ROLE ${role}; GRANT SELECT ON rooms TO ${role} WITH GRANT OPTION; GRANT USAGE ON SEQUENCE rooms_key_seq TO ${role};
       CREATE TABLE "of somebody else" (id serial PRIMARY KEY); INSERT INTO "of somebody else" DEFAULT VALUES;
       CREATE FUNCTION outbox_of_somebody() RETURNS int LANGUAGE sql AS 'SELECT 1'; CREATE TYPE a_type AS ENUM ('a')`,
    );
    await fill(0, 20);
    const [before, shape] = [await rows(), await structure()];
    const counts = await dump('then');
    expect(counts).toMatchObject({ madeWith: postgres.tools.major, rows: { rooms: 20, events: 0, schema_version: 1 } });
    await fill(20, 30);
    await askPostgres(url, `DELETE FROM rooms WHERE id = 'r3'; DROP TABLE calls; INSERT INTO "of somebody else" DEFAULT VALUES`);
    await put('then', { counts });
    expect(await rows()).toEqual(before);
    expect(await structure()).toBe(shape);
    expect(await askPostgres(url, 'SELECT count(*)::int AS n FROM "of somebody else"')).toEqual([{ n: 2 }]);
    // The service that was running goes on, with a key of its own.
    expect((await store.addRoom(room('new')))?.key).toBe(21);
    expect(await countDump(postgres, `${folder}/former`)).toMatchObject({ rows: { rooms: 29 }, schemas: ['public'] });
  });

  it.each(['my schema', `rooms "of" 'ours', TABLE; x`, '数据库', 'a.b*c?$1'])('come back in a schema called %s', async (schema) => {
    const name = `"${schema.replaceAll('"', '""')}"`;
    await askPostgres(url, `CREATE ROLE "a reader ${number}"; CREATE SCHEMA ${name}; CREATE TABLE ${name}."rooms of others" (x int)`);
    const within = new URL(url);
    // As libpq takes options: a backslash before a space or a backslash.
    within.searchParams.set('options', `-c search_path=${name.replaceAll(/[\\ ]/g, String.raw`\$&`)}`);
    await store.close();
    store = await openStore(within.href);
    ({ postgres } = await reachPostgres(within.href, { user, signal }));
    await fill(0, 3);
    await askPostgres(url, `GRANT SELECT ON ${name}.rooms TO "a reader ${number}"`);
    const counts = await dump('then');
    expect(counts.rows['rooms']).toBe(3);
    expect(await countDump(postgres, `${folder}/then`)).toEqual({ rows: counts.rows, schemas: [schema] });
    await fill(3, 5);
    const shape = await structure();
    await put('then', { counts });
    expect(await askPostgres(url, `SELECT count(*)::int AS n FROM ${name}.rooms`)).toEqual([{ n: 3 }]);
    expect(await structure()).toBe(shape);
    await undoPostgres(postgres, { ...none, id: 'an-id', former: `${folder}/former`, undone: `${folder}/undone`, signal });
    expect(await askPostgres(url, `SELECT count(*)::int AS n FROM ${name}.rooms`)).toEqual([{ n: 5 }]);
    expect(await askPostgres(url, `SELECT has_table_privilege('a reader ${number}', $$${name}.rooms$$, 'SELECT') AS may`)).toEqual([{ may: true }]);
  });

  it('are known to be used by what of others keeps them from being replaced, and by nothing else', async () => {
    const users = async (): Promise<string[]> => (await reachPostgres(url, { user, signal })).facts.users;
    expect(await users()).toEqual([]);
    await askPostgres(
      url,
      `CREATE INDEX of_somebody_1 ON rooms (created_at); CREATE TABLE of_somebody_2 (key bigint REFERENCES rooms (key));
       CREATE SCHEMA aside; CREATE VIEW aside.of_somebody_3 AS SELECT id FROM rooms; CREATE VIEW of_somebody_4 AS SELECT * FROM aside.of_somebody_3;
       CREATE MATERIALIZED VIEW "of somebody 5" AS SELECT count(*) FROM events; CREATE FUNCTION of_somebody_6(rooms) RETURNS int LANGUAGE sql AS 'SELECT 1';
       CREATE TABLE of_somebody_7 (id bigint DEFAULT nextval('rooms_key_seq')); CREATE TABLE of_somebody_8 (LIKE rooms)`,
    );
    expect(await users()).toEqual([
      'constraint of_somebody_2_key_fkey on table of_somebody_2',
      'default value for column id of table of_somebody_7',
      'function of_somebody_6(rooms)',
      'materialized view "of somebody 5"',
      'view aside.of_somebody_3',
    ]);
    // They are all: without them nothing is in the way.
    const counts = await dump('then');
    await expect(put('then', { counts })).rejects.toMatchObject({ code: 'RESTORE_DATABASE_FAILED' });
    await rm(`${folder}/former`);
    await askPostgres(
      url,
      `DROP TABLE of_somebody_2, of_somebody_7; DROP FUNCTION of_somebody_6; DROP MATERIALIZED VIEW "of somebody 5"; DROP VIEW of_somebody_4, aside.of_somebody_3`,
    );
    await put('then', { counts });
  });

  it('come back into a database that has none', async () => {
    await fill(0, 3);
    const [before, counts] = [await rows(), await dump('then')];
    await store.close();
    url = await cluster.createDatabase(`empty${number}`);
    ({ postgres } = await reachPostgres(url, { user, signal }));
    await put('then', { counts });
    expect(await rows()).toEqual(before);
    store = await openStore(url);
    expect((await store.addRoom(room('new')))?.key).toBe(4);
    // And go again.
    await undoPostgres(postgres, { ...none, id: 'an-id', former: null, undone: null, signal });
    expect((await reachPostgres(url, { user, signal })).facts.tables).toEqual([]);
  });

  it('are taken as of one moment while services write: what was acknowledged before is in, and the counts are those of the rows', async () => {
    const acknowledged = new Set<string>();
    const loading = new AbortController();
    const load = async (worker: number): Promise<void> => {
      for (let turn = 0; !loading.signal.aborted; turn++) {
        await store.addRoom(room(`${worker}-${turn}`));
        acknowledged.add(`${worker}-${turn}`);
      }
    };
    const workers = [1, 2, 3, 4].map(load);
    await until(async () => acknowledged.size > 200, 60_000);
    for (const turn of [1, 2, 3]) {
      const before = [...acknowledged];
      const counts = await dump(`under-load-${turn}`);
      expect((await countDump(postgres, `${folder}/under-load-${turn}`)).rows).toEqual(counts.rows);
      const text = await readFile(`${folder}/under-load-${turn}`, 'latin1');
      expect(before.filter((id) => !text.includes(`\t${id}\t`))).toEqual([]);
    }
    loading.abort();
    await Promise.all(workers);
  });

  it('stay as they are when a restore fails, whenever that is', async () => {
    await fill(0, 5);
    const counts = await dump('then');
    await fill(5, 8);
    const before = await rows();
    const failed = { code: 'RESTORE_DATABASE_FAILED' };
    // At the very end.
    await expect(put('then', { counts: { ...counts, rows: { ...counts.rows, rooms: 6 } } })).rejects.toMatchObject({
      ...failed,
      params: { reason: 'rooms has 5 rows instead of 6' },
    });
    expect(await rows()).toEqual(before);
    // In the middle of the rows.
    const bytes = await readFile(`${folder}/then`);
    await rm(`${folder}/former`);
    await writeFile(`${folder}/broken`, Buffer.from(bytes.toString('latin1').replace('\tr3\t', '\tr2\t'), 'latin1'));
    await expect(put('broken', { counts })).rejects.toMatchObject({ ...failed, params: { reason: expect.stringContaining('rooms_by_id') as unknown } });
    expect(await rows()).toEqual(before);
    // At the beginning.
    await rm(`${folder}/former`);
    await askPostgres(url, 'CREATE VIEW of_somebody AS SELECT * FROM rooms');
    await expect(put('then', { counts })).rejects.toMatchObject({ ...failed, params: { reason: expect.stringContaining('of_somebody') as unknown } });
    expect(await rows()).toEqual(before);
  });

  it('are put back where a restore was committed, and left alone where it was not', async () => {
    await fill(0, 5);
    const counts = await dump('then');
    await fill(5, 8);
    const before = await rows();
    await put('then', { id: 'first', counts });
    const undo = (id: string): Promise<string> => undoPostgres(postgres, { ...none, id, former: `${folder}/former`, undone: `${folder}/undone`, signal });
    await undo('another');
    expect(await store.findRoom('r7')).toBeNull();
    await fill(20, 23);
    // Of one that was killed.
    await writeFile(`${folder}/undone`, 'half a dump');
    await undo('first');
    expect(await rows()).toEqual(before);
    // What was written since the restore is not lost.
    expect((await countDump(postgres, `${folder}/undone`)).rows['rooms']).toBe(8);
    await fill(8, 9);
    await undo('first');
    expect(await store.findRoom('r8')).not.toBeNull();
    expect((await countDump(postgres, `${folder}/undone`)).rows['rooms']).toBe(8);
  });

  it('are left alone where another machine has restored them since, whose undo leaves them to the first again', async () => {
    await fill(0, 2);
    const counts = await dump('then');
    await fill(2, 3);
    await put('then', { id: 'first', counts, former: 'former-1' });
    await fill(3, 4);
    const exchange = await openPostgresExchange(postgres, signal);
    const { mark } = exchange;
    await exchange.close();
    await put('then', { id: 'second', counts, former: 'former-2' });
    const undo = (id: string, of: { mark?: string; former: string }): Promise<string> =>
      undoPostgres(postgres, { ...none, ...of, former: `${folder}/${of.former}`, id, undone: null, signal });
    expect(await undo('first', { former: 'former-1' })).toBe('other');
    // One that was never committed, where an earlier one was.
    expect(await undo('third', { former: 'former-1', mark: 'livekit-fleet restore second' })).toBe('untouched');
    expect((await store.findRoom('r3')) ?? (await store.findRoom('r2'))).toBeNull();
    expect(await undo('second', { former: 'former-2', mark })).toBe('undone');
    expect(await store.findRoom('r3')).not.toBeNull();
    expect(await undo('first', { former: 'former-1' })).toBe('undone');
    expect([(await store.findRoom('r2')) !== null, await store.findRoom('r3')]).toEqual([true, null]);
  });

  it('are put back where there is no space to keep what is undone, which is said', async () => {
    await fill(0, 2);
    const before = await rows();
    const counts = await dump('then');
    await put('then', { id: 'first', counts });
    const full = await scratchFolder();
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=64k', 'tmpfs', full]);
    onTestFinished(async () => {
      await execa('umount', [full]);
      await rm(full, { recursive: true });
    });
    await execa('dd', ['if=/dev/zero', `of=${full}/filler`, 'bs=4k'], { reject: false });
    const lost: Error[] = [];
    const given = { ...none, id: 'first', former: `${folder}/former`, undone: `${full}/undone`, signal, onLost: (error: Error) => lost.push(error) };
    expect(await undoPostgres(postgres, given)).toBe('undone');
    expect(lost).toMatchObject([{ code: 'DISK_FULL', params: { path: `${full}/undone` } }]);
    expect(await rows()).toEqual(before);
    expect(await readdir(full)).toEqual(['filler']);
  });

  it('are put back only after a restore that was killed at its last act has ended', async () => {
    await fill(0, 2);
    await dump('former');
    const killed = await openSession(postgres, signal);
    await killed.ask('BEGIN; SELECT pg_advisory_xact_lock(7105382)');
    await killed.ask(`DELETE FROM rooms; COMMENT ON TABLE schema_version IS 'livekit-fleet restore the-killed'`);
    let isUndone = false;
    const undoing = undoPostgres(postgres, { ...none, id: 'the-killed', former: `${folder}/former`, undone: null, signal }).then(() => (isUndone = true));
    await until(
      async () => (await cluster.ask(`SELECT 1 FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND wait_event = 'advisory'`)).length === 1,
      10_000,
    );
    expect(isUndone).toBe(false);
    await killed.ask('COMMIT');
    await undoing;
    await killed.close();
    expect(await store.findRoom('r1')).not.toBeNull();
  });

  it('keep services waiting, who find the restored rows after', async () => {
    await fill(0, 2);
    const counts = await dump('then');
    await fill(2, 4);
    const exchange = await openPostgresExchange(postgres, signal);
    expect(exchange.others).toBeGreaterThan(0);
    let isAdded = false;
    const adding = store.addRoom(room('meanwhile')).then((added) => {
      isAdded = true;
      return added;
    });
    await until(
      async () => (await cluster.ask(`SELECT 1 FROM pg_stat_activity WHERE application_name = 'livekit-fleet' AND wait_event = 'advisory'`)).length === 1,
      10_000,
    );
    expect(isAdded).toBe(false);
    await exchange.put(`${folder}/then`, { id: 'x', counts, onProgress });
    await exchange.close();
    expect(await adding).toMatchObject({ key: 3 });
    expect(await askPostgres(url, 'SELECT id FROM rooms ORDER BY key')).toEqual([{ id: 'r0' }, { id: 'r1' }, { id: 'meanwhile' }]);
  });

  it('are not restored from a dump that is damaged, or is none', async () => {
    await fill(0, 500);
    await dump('then');
    const bytes = await readFile(`${folder}/then`);
    for (const [what, damage] of [
      ['cut', bytes.subarray(0, Math.floor(bytes.length / 2))],
      ['text', Buffer.from('SELECT 1;\n')],
      ['empty', Buffer.alloc(0)],
      ['header', Buffer.concat([bytes.subarray(0, 5), Buffer.from([9]), bytes.subarray(6)])],
    ] as const) {
      await writeFile(`${folder}/damaged`, damage);
      await expect(countDump(postgres, `${folder}/damaged`), what).rejects.toMatchObject({ message: expect.stringContaining('pg_restore: error') as unknown });
    }
    // psql would run it.
    await writeFile(`${folder}/orders`, Buffer.from(bytes.toString('latin1').replace("DEFAULT 'video'::text", "DEFAULT '\\!deo'::text"), 'latin1'));
    await expect(countDump(postgres, `${folder}/orders`)).rejects.toMatchObject({ message: 'a statement with a backslash' });
  });

  it('are not taken from an archive that is cut off, or has another byte in their dump', async () => {
    await fill(0, 500);
    const databases = { 'postgres.dump': await dump('then') };
    const members = { env: Buffer.from('DOMAIN=localhost\n'), 'postgres.dump': await readFile(`${folder}/then`) };
    const archive = (passphrase?: string): Promise<Buffer> => archiveOf(headOf({ format: 2 }), members, { redis: null, databases }, passphrase);
    const [plain, sealed] = [await archive(), await archive('correct horse')];
    const damaged = { code: 'BACKUP_DAMAGED' };
    for (const [kind, bytes] of [
      ['plain', plain],
      ['encrypted', sealed],
    ] as const) {
      expect(await proveBytes(bytes, 'correct horse')).toMatchObject({ members: ['archive.json', 'env', 'postgres.dump'] });
      for (let tenth = 1; tenth < 10; tenth++)
        await expect(proveBytes(cutOff(bytes, tenth), 'correct horse'), `${kind}, ${tenth * 10} %`).rejects.toMatchObject(damaged);
    }
    for (const part of [0, 0.25, 0.5, 0.75, 1])
      await expect(proveBytes(flipIn(plain, 'postgres.dump', part)), String(part)).rejects.toMatchObject({ ...damaged, params: { reason: 'postgres.dump' } });
  });

  it('are taken by a role that may only read them', async () => {
    await fill(0, 2);
    const role = `taker${number}`;
    await askPostgres(url, `CREATE ROLE ${role} LOGIN PASSWORD 'x'; GRANT SELECT ON ALL TABLES IN SCHEMA public TO ${role}`);
    const as = new URL(url);
    [as.username, as.password] = [role, 'x'];
    const taker = (await reachPostgres(as.href, { user, signal })).postgres;
    const taking = (): Promise<DatabaseCounts> => dumpDatabase(taker, { to: `${folder}/then`, signal, onProgress });
    await expect(taking()).rejects.toMatchObject({ code: 'BACKUP_DATABASE_FAILED', params: { reason: expect.stringContaining('sequence') as unknown } });
    await rm(`${folder}/then`);
    await askPostgres(url, `GRANT SELECT ON ALL SEQUENCES IN SCHEMA public TO ${role}`);
    expect(await taking()).toMatchObject({ rows: { rooms: 2 } });
  });

  it('do not fill a disk with half of a dump, and stay where what stands there cannot be kept aside', async () => {
    await askPostgres(url, `INSERT INTO tokens (id, name, sha256, scopes, created_at) SELECT n, '', n, repeat('x', 1000), 0 FROM generate_series(1, 3000) n`);
    const [counts, before] = [await dump('then'), await rows()];
    await mkdir(`${folder}/small`);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', `${folder}/small`]);
    try {
      await expect(dump('small/then')).rejects.toMatchObject({ code: 'DISK_FULL', params: { path: `${folder}/small/then` } });
      await rm(`${folder}/small/then`);
      await expect(put('then', { counts, former: 'small/former' })).rejects.toMatchObject({ code: 'DISK_FULL', params: { path: `${folder}/small/former` } });
    } finally {
      await execa('umount', [`${folder}/small`]);
    }
    expect(await rows()).toEqual(before);
    // Nobody waits for it any more.
    expect(await store.addRoom(room('new'))).not.toBeNull();
  });

  it.each([
    ['one connection', `SELECT pg_terminate_backend(pid) FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted`],
    ['all of it', null],
  ])('are as they were where PostgreSQL is lost while they are being replaced: %s', async (_, sql) => {
    await fill(0, 5);
    const counts = await dump('then');
    await fill(5, 8);
    const before = await rows();
    // Whoever reads them has the replacement wait in its midst.
    const reader = new pg.Client({ connectionString: url });
    reader.on('error', () => undefined);
    await reader.connect();
    await reader.query('BEGIN; SELECT * FROM rooms');
    const putting = expect(put('then', { id: 'lost', counts })).rejects.toMatchObject({ code: 'RESTORE_DATABASE_FAILED' });
    await until(async () => (await cluster.ask(`SELECT 1 FROM pg_locks WHERE mode = 'AccessExclusiveLock' AND NOT granted`)).length > 0, 20_000);
    await (sql === null ? cluster.kill() : cluster.ask(sql));
    await putting;
    await reader.end().catch(() => undefined);
    if (sql === null) await cluster.start();
    expect(await rows()).toEqual(before);
    // Whoever settles it finds that there is nothing to put back.
    await undoPostgres(postgres, { ...none, id: 'lost', former: `${folder}/former`, undone: null, signal });
    expect(await rows()).toEqual(before);
    await until(async () => (await store.findRoom('r7')) !== null, 20_000);
  });

  it('are reached with a password that stands in no command’s words and in no log', async () => {
    await fill(0, 2);
    const seen = new Set<string>();
    const watch = setInterval(() => {
      for (const pid of readdirSync('/proc').filter((name) => /^\d+$/.test(name))) {
        try {
          seen.add(readFileSync(`/proc/${pid}/cmdline`, 'utf8').replaceAll('\0', ' '));
        } catch {
          // It has ended.
        }
      }
    }, 1);
    try {
      const counts = await dump('then');
      await put('then', { counts });
    } finally {
      clearInterval(watch);
    }
    for (const program of ['pg_dump', 'psql'])
      expect(
        [...seen].filter((line) => line.includes(`/${program} `)),
        program,
      ).not.toEqual([]);
    const logs = await execa('sh', ['-c', `cat ${cluster.folder}/data/log/*`]);
    const dumped = await readFile(`${folder}/then`, 'latin1');
    for (const secret of [password, encodeURIComponent(password)]) {
      expect([...seen].filter((line) => line.includes(secret))).toEqual([]);
      expect(logs.stdout).not.toContain(secret);
      expect(dumped).not.toContain(secret);
    }
  });

  it('are reached through TLS or a socket as the URL says, and not where the server is another', async () => {
    const through = (query: string): Promise<string[]> => reachedBy(url, (given) => (given.search = query));
    expect(await through('')).toEqual(['f|f']);
    expect(await through('sslmode=require')).toEqual(['t|f']);
    expect(await through(`sslmode=verify-full&sslrootcert=${cluster.folder}/server.crt`)).toEqual(['t|f']);
    const other = through(`sslmode=verify-full&sslrootcert=${cluster.folder}/other.crt`);
    await expect(other).rejects.toMatchObject({ code: 'DATABASE_UNREACHABLE', params: { reason: expect.stringContaining('certificate') as unknown } });
    expect(await reachedBy(url, (given) => (given.hostname = encodeURIComponent(cluster.folder)))).toEqual(['f|t']);
  });

  it('are not reached: it says why', async () => {
    const wrong = new URL(url);
    wrong.password = 'another-word';
    const [refused, away] = await Promise.all(
      [wrong.href, url.replace(`:${cluster.port}/`, ':1/')].map((one) => reachPostgres(one, { user, signal }).catch((error: unknown) => error)),
    );
    expect(refused).toMatchObject({ code: 'DATABASE_UNREACHABLE', params: { reason: expect.stringContaining('password authentication failed') as unknown } });
    expect(String(refused)).not.toContain('another-word');
    expect(away).toMatchObject({
      code: 'DATABASE_UNREACHABLE',
      params: { address: `127.0.0.1:1/fleet${number}`, reason: expect.stringContaining('refused') as unknown },
    });
  });
});

/** Whether a session is encrypted, and whether it goes through a socket. */
async function reachedBy(url: string, change: (given: URL) => void): Promise<string[]> {
  const given = new URL(url);
  change(given);
  const session = await openSession((await reachPostgres(given.href, { user, signal })).postgres, signal);
  try {
    return await session.ask('SELECT ssl, inet_server_port() IS NULL FROM pg_stat_ssl WHERE pid = pg_backend_pid()');
  } finally {
    await session.close();
  }
}

it('a script is cut into the same parts, however its bytes come', async () => {
  const script =
    'SET statement_timeout = 0;\n-- a comment \\\nCREATE TABLE public.a (\n  b text\n);\nCOPY public.a (b) FROM stdin;\n1\\.\n\\\\.\n\\N\n\\.\n\nCOPY public."b ""c" (b) FROM stdin;\n\\.\nSELECT 1;\n';
  const expected = ['CREATE TABLE public.a (\n  b text\n);\n', 'public a 1\\.\n\\\\.\n\\N\n', '\n', 'public b "c ', 'SELECT 1;\n'];
  await fc.assert(
    fc.asyncProperty(fc.array(fc.integer({ min: 0, max: script.length }), { maxLength: 20 }), async (cuts) => {
      const ends = [...cuts.toSorted((a, b) => a - b), script.length];
      const chunks = async function* (): AsyncGenerator<Buffer> {
        for (const [index, end] of ends.entries()) yield Buffer.from(script.slice(ends[index - 1] ?? 0, end));
      };
      const parts: string[] = [];
      for await (const part of readScript(chunks())) {
        if (part.kind === 'sql') parts.push(part.text);
        else {
          let text = '';
          for await (const chunk of part.rows()) text += chunk.toString();
          parts.push(`${part.schema} ${part.table} ${text}`);
        }
      }
      expect(parts).toEqual(expected);
    }),
  );
});
