import { execa } from 'execa';
import { chown, copyFile, mkdir, rm, writeFile } from 'node:fs/promises';
import type { Redis } from 'ioredis';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from 'vitest';
import { letGoOf, openExchange } from '../../src/backup/exchange.ts';
import type { Exchange } from '../../src/backup/exchange.ts';
import { NODES_KEY } from '../../src/contract/node-record.ts';
import { until } from '../e2e/installation.ts';
import { nobody, rdbOf, redisServer, scratchFolder } from './archives.ts';
import { password, startRedis } from './redis-processes.ts';

const KEYS = 1_300;

/** Whose data a Redis has, and how many keys are beside them; the moment's are always there. */
async function seen(redis: Redis): Promise<string> {
  const [today, one, node, room, keys] = [
    await redis.get('of-today'),
    await redis.get('key:1'),
    await redis.hget(NODES_KEY, 'm1'),
    await redis.hget('rooms', 'alive'),
    // One of the archive's expires when it likes.
    (await redis.dbsize()) - (await redis.exists('short')),
  ];
  const beside = Number(/db1:keys=(\d+)/.exec(await redis.info('keyspace'))?.[1] ?? 0);
  const isMoment = node === 'a heart-beat' && room === 'x';
  const whose = today === '1' && one === 'of today' && keys === 4 ? 'former' : today === null && one?.startsWith('v') && keys === KEYS + 1 ? 'new' : 'neither';
  return `${whose}, moment ${isMoment}, beside ${beside}`;
}

/** A primary and a replica, and an archive's Redis beside them. */
describe.runIf(process.getuid?.() === 0)('the exchange of a fleet’s data', () => {
  let folder: string;
  let port: number;
  let primary: Redis;
  let replica: Redis;
  let stop: () => void;
  beforeAll(async () => {
    folder = await scratchFolder();
    await writeFile(`${folder}/archive.rdb`, await rdbOf(KEYS));
  });
  afterAll(() => rm(folder, { recursive: true }));
  beforeEach(async () => {
    ({ port, redis: primary, kill: stop } = await startRedis());
    ({ redis: replica } = await startRedis(port));
    await primary.mset({ 'of-today': '1', 'key:1': 'of today' });
    await primary.hset(NODES_KEY, 'm1', 'a heart-beat');
    await primary.hset('rooms', 'alive', 'x');
  });

  const open = async (id = 'id', machine = 'm1'): Promise<Exchange> => openExchange({ host: '127.0.0.1', port, password }, { id, machine });
  async function once<T>(work: (exchange: Exchange) => Promise<T>, id?: string, machine?: string): Promise<T> {
    const opened = await open(id, machine);
    return work(opened).finally(() => opened.close());
  }
  /** A whole exchange, which is killed before its n-th command. */
  async function exchange(n = 0): Promise<{ signal: string | undefined; commands: string[] }> {
    const data = `${folder}/redis`;
    await rm(data, { recursive: true, force: true });
    await mkdir(data);
    await copyFile(`${folder}/archive.rdb`, `${data}/appendonly.aof`);
    for (const path of [data, `${data}/appendonly.aof`]) await chown(path, nobody.uid, nobody.gid);
    const script = `${import.meta.dirname}/exchange-killed-at.ts`;
    const ran = await execa(process.execPath, [script, redisServer(), data, String(port), password, String(n)], { reject: false });
    if (ran.exitCode !== 0 && ran.signal === undefined) throw new Error(ran.stderr);
    return { signal: ran.signal, commands: ran.stderr.trimEnd().split('\n') };
  }

  it('is whole on primary and replica, and leaves nothing beside', async () => {
    await exchange();
    expect(await seen(primary)).toBe('new, moment true, beside 0');
    await until(async () => (await seen(replica)) === 'new, moment true, beside 0', 5_000);
  });

  it('leaves the former or the new, never neither, when it is killed before any of its commands; what undoes it brings back the former', async () => {
    const { commands } = await exchange();
    expect(commands.filter((name) => name === 'migrate').length).toBeGreaterThan(2);
    const found = new Set<string>();
    for (let n = 1; n <= commands.length; n++) {
      await primary.flushall();
      await primary.mset({ 'of-today': '1', 'key:1': 'of today' });
      await primary.hset(NODES_KEY, 'm1', 'a heart-beat');
      await primary.hset('rooms', 'alive', 'x');
      expect((await exchange(n)).signal, `${n}: ${commands[n - 1]}`).toBe('SIGKILL');
      const [whose = ''] = (await seen(primary)).split(', beside');
      expect(whose, `${n}: ${commands[n - 1]}`).toMatch(/^(former|new), moment true$/);
      found.add(whose);
      await once((one) => one.undo());
      await once((one) => one.undo());
      expect(await seen(primary), `${n}: ${commands[n - 1]}`).toBe('former, moment true, beside 0');
      await until(async () => (await seen(replica)) === 'former, moment true, beside 0', 5_000);
    }
    expect(found.size).toBe(2);
  });

  it('touches nothing that somebody else has there', async () => {
    await primary.select(1);
    await primary.set('somebody', '1');
    await primary.select(0);
    await expect(once((one) => one.claim())).rejects.toMatchObject({ code: 'REDIS_BESIDE_TAKEN', params: { keys: 1 } });
    await once((one) => one.undo());
    await once((one) => one.end());
    await expect(once((one) => one.begin(0))).rejects.toMatchObject({ code: 'REDIS_REFUSED' });
    expect(await seen(primary)).toBe('former, moment true, beside 1');
  });

  it('keeps what stood before another machine’s restore, until that is settled or the machine is struck off', async () => {
    await once((one) => one.claim(), 'id', 'm2');
    // Nothing of it was ever in use.
    await once((one) => one.claim());
    await once((one) => one.begin(1));
    for (const [id, machine] of [
      ['other', 'm1'],
      ['id', 'm2'],
    ] as const) {
      await expect(once((one) => one.claim(), id, machine)).rejects.toMatchObject({ code: 'RESTORE_ELSEWHERE', params: { machine: 'm1' } });
      await once((one) => one.undo(), id, machine);
      await once((one) => one.end(), id, machine);
    }
    expect(await once((one) => one.stands())).toBe(true);
    expect(await once((one) => one.stands(), 'other')).toBe(false);
    await letGoOf('1', { host: '127.0.0.1', port, password });
    expect(await primary.info('keyspace')).toContain('db1:');
    await letGoOf('m1', { host: '127.0.0.1', port, password });
    expect(await primary.info('keyspace')).not.toContain('db1:');
  });

  it('is refused where no replica follows, and where the primary is gone', async () => {
    await once((one) => one.claim());
    await replica.call('REPLICAOF', 'NO', 'ONE');
    await expect(once((one) => one.begin(1))).rejects.toMatchObject({
      code: 'REDIS_REFUSED',
      params: { reason: expect.stringContaining('no replica') as unknown },
    });
    await primary.flushall();
    await once((one) => one.claim());
    const begun = once((one) => one.begin(1));
    // It waits for a replica when it is lost.
    await until(async () => String(await primary.client('LIST')).includes('cmd=wait'), 5_000);
    stop();
    await expect(begun).rejects.toMatchObject({ code: 'REDIS_REFUSED', params: { address: `127.0.0.1:${port}` } });
    await expect(open()).rejects.toMatchObject({ code: 'REDIS_REFUSED' });
  });
});
