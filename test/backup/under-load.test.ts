import { mkdtemp, readFile, rename, rm } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { execa } from 'execa';
import { Redis } from 'ioredis';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { startScratchRedis } from '../../src/backup/scratch-redis.ts';
import { createInstallation, until } from '../e2e/installation.ts';
import type { Installation } from '../e2e/installation.ts';
import { nobody, redisServer, scratchFolder } from './archives.ts';

/** A machine on which people and LiveKit go on while it is backed up. */
describe.runIf(process.getuid?.() === 0)('a backup under load', () => {
  let place: Installation;
  let redis: Redis;
  let token = '';
  const loading = new AbortController();
  const rooms: string[] = [];
  let steps = 0;
  const load: Array<Promise<void>> = [];
  const setting = async (name: string): Promise<string> => new RegExp(`^${name}=(.*)$`, 'm').exec(await readFile(place.envFile, 'utf8'))?.[1] ?? '';

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore'), RATE_LIMIT_TOKEN: '0' });
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    token = await setting('SERVICE_API_TOKEN');
    redis = new Redis({ host: '127.0.0.1', port: place.ports['REDIS_PORT'] ?? 0, password: await setting('REDIS_PASSWORD') });
    // Enough for the copies to take a while.
    await redis.call('DEBUG', 'POPULATE', '300000', 'filler', '100').catch(async () => {
      for (let batch = 0; batch < 100; batch++)
        await redis.mset(Object.fromEntries(Array.from({ length: 1_000 }, (_, key) => [`filler:${batch}:${key}`, 'v'.repeat(100)])));
    });
    const addRooms = async (worker: number): Promise<void> => {
      for (let turn = 0; !loading.signal.aborted; turn++) {
        const id = `r-${worker}-${turn}`;
        const headers = { authorization: `Bearer ${token}`, 'content-type': 'application/json' };
        const answer = await fetch(`http://127.0.0.1:${place.ports['SERVICE_PORT']}/api/v1/rooms`, { method: 'POST', headers, body: JSON.stringify({ id }) });
        if (answer.status === 201) rooms.push(id);
        await answer.arrayBuffer();
      }
    };
    const addSteps = async (): Promise<void> => {
      while (!loading.signal.aborted) {
        await redis
          .multi()
          .incr('steps')
          .rpush('list', steps + 1)
          .set(`step:${steps + 1}`, 'x')
          .exec();
        steps += 1;
      }
    };
    load.push(...[1, 2, 3, 4].map(addRooms), addSteps());
  });

  afterAll(async () => {
    loading.abort();
    await Promise.allSettled(load);
    redis.disconnect();
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it('is of one moment: what was acknowledged before is in it, transactions are whole, and it holds what it says', async () => {
    for (const turn of [1, 2, 3]) {
      await until(async () => rooms.length > turn * 100 && steps > turn * 100, 60_000);
      const before = { rooms: [...rooms], steps };
      const done = await place.run(['backup', '--verify', '--json', '--to', `${place.folder}/kept`]);
      expect(done).toMatchObject({ code: 0, err: '' });
      // Nobody was held up.
      expect([rooms.length > before.rooms.length, steps > before.steps]).toEqual([true, true]);
      const { path, counts } = JSON.parse(done.out) as {
        path: string;
        counts: { redis: { keys: number }; databases: Record<string, { rows: Record<string, number> }> };
      };
      const folder = await scratchFolder();
      await execa('tar', ['--zstd', '-xf', path, '-C', folder]);
      const db = new DatabaseSync(`${folder}/service.db`);
      const found = new Set(
        db
          .prepare('SELECT id FROM rooms')
          .all()
          .map(({ id }) => String(id)),
      );
      db.close();
      expect(found.size).toBe(counts.databases['service.db']?.rows['rooms']);
      expect(before.rooms.filter((id) => !found.has(id))).toEqual([]);
      const place2 = await mkdtemp(`${folder}/redis-`);
      await rename(`${folder}/redis.rdb`, `${place2}/appendonly.aof`);
      await execa('chown', ['-R', `${nobody.uid}:${nobody.gid}`, place2]);
      await using scratch = await startScratchRedis({
        program: redisServer(),
        folder: place2,
        user: nobody,
        signal: new AbortController().signal,
        onProgress: () => undefined,
      });
      const [taken, length, last, keys] = await Promise.all([
        scratch.redis.get('steps'),
        scratch.redis.llen('list'),
        scratch.redis.lindex('list', -1),
        scratch.redis.dbsize(),
      ]);
      expect([length, Number(last)]).toEqual([Number(taken), Number(taken)]);
      expect(await scratch.redis.exists(`step:${taken}`)).toBe(1);
      expect(Number(taken)).toBeGreaterThanOrEqual(before.steps);
      expect(scratch.loaded.all ?? keys).toBe(counts.redis.keys);
      await rm(folder, { recursive: true });
    }
  });
});
