import { spawn } from 'node:child_process';
import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { Redis } from 'ioredis';
import { onTestFinished } from 'vitest';
import { freePorts, until } from '../e2e/installation.ts';
import { redisServer } from './archives.ts';

export const password = 'of-the-fleet';

/** A real Redis with that password, which ends with the test. @param of the port of the one whose replica it is */
export async function startRedis(of?: number): Promise<{ port: number; folder: string; redis: Redis; kill: () => void }> {
  const [port = 0] = await freePorts(1);
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-backup-`);
  const words = [
    '--port',
    String(port),
    '--bind',
    '127.0.0.1',
    '--dir',
    folder,
    '--save',
    '',
    '--requirepass',
    password,
    '--masterauth',
    password,
    '--repl-diskless-sync-delay',
    '0',
  ];
  const child = spawn(redisServer(), [...words, ...(of === undefined ? [] : ['--replicaof', `127.0.0.1 ${of}`])], { stdio: 'ignore' });
  const redis = new Redis({ host: '127.0.0.1', port, password, retryStrategy: () => 20 });
  redis.on('error', () => undefined);
  const kill = (): void => void child.kill('SIGKILL');
  onTestFinished(() => {
    redis.disconnect();
    kill();
  });
  await until(async () => redis.status === 'ready' && (of === undefined || (await redis.info('replication')).includes('master_link_status:up')), 10_000);
  return { port, folder, redis, kill };
}
