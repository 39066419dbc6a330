import { mkdir, rmdir } from 'node:fs/promises';
import { buffer } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { takeSnapshot } from '../../src/backup/redis-snapshot.ts';
import { until } from '../e2e/installation.ts';
import { password, startRedis } from './redis-processes.ts';

it('is not taken of a replica that has lost its primary: it would be of some time ago', async () => {
  const primary = await startRedis();
  const { port, folder, redis } = await startRedis(primary.port);
  const take = (): ReturnType<typeof takeSnapshot> =>
    takeSnapshot({ at: { host: '127.0.0.1', port, password }, folder, signal: new AbortController().signal, onProgress: () => undefined });
  const { file, bytes } = await take();
  await file.close();
  expect(bytes).toBeGreaterThan(50);
  primary.kill();
  await until(async () => (await redis.info('replication')).includes('master_link_status:down'), 5_000);
  await expect(take()).rejects.toMatchObject({ code: 'BACKUP_PART_SICK' });
}, 60_000);

it('is taken though an earlier one failed and the append-only file is being written anew', async () => {
  const { port, folder, redis } = await startRedis();
  for (let key = 0; key < 20; key++) await redis.set(`key:${key}`, 'x');
  const state = async (name: string): Promise<string> => new RegExp(`^${name}:(.*?)\r?$`, 'm').exec(await redis.info('persistence'))?.[1] ?? '';
  // A folder in the place of the file.
  await mkdir(`${folder}/dump.rdb`);
  await redis.bgsave();
  await until(async () => (await state('rdb_last_bgsave_status')) === 'err', 5_000);
  await rmdir(`${folder}/dump.rdb`);
  await redis.config('SET', 'rdb-key-save-delay', '50000');
  await redis.config('SET', 'appendonly', 'yes');
  await until(async () => (await state('aof_rewrite_in_progress')) === '1', 5_000);
  await redis.config('SET', 'rdb-key-save-delay', '0');
  const { file } = await takeSnapshot({ at: { host: '127.0.0.1', port, password }, folder, signal: new AbortController().signal, onProgress: () => undefined });
  expect((await buffer(file.createReadStream({ start: 0 }))).toString('latin1')).toMatch(/^REDIS[^]*key:19/);
  // One that fails now is heard of.
  await mkdir(`${folder}/dump.rdb/in-the-way`, { recursive: true });
  await expect(
    takeSnapshot({ at: { host: '127.0.0.1', port, password }, folder, signal: new AbortController().signal, onProgress: () => undefined }),
  ).rejects.toThrow();
}, 60_000);
