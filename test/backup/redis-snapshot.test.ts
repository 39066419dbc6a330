import { expect, it } from 'vitest';
import { takeSnapshot } from '../../src/backup/redis-snapshot.ts';
import { password, startRedis } from './redis-processes.ts';

it('is not taken of a replica that has lost its primary: it would be of some time ago', async () => {
  const primary = await startRedis();
  const { port, folder } = await startRedis(primary.port);
  const take = (): ReturnType<typeof takeSnapshot> =>
    takeSnapshot({ at: { host: '127.0.0.1', port, password }, folder, signal: new AbortController().signal, onProgress: () => undefined });
  const { file, bytes } = await take();
  await file.close();
  expect(bytes).toBeGreaterThan(50);
  primary.kill();
  await expect(take()).rejects.toMatchObject({ code: 'BACKUP_PART_SICK' });
}, 60_000);
