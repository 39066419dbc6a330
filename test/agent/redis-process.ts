import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { Redis } from 'ioredis';
import { inject, onTestFinished } from 'vitest';
import { freePorts } from '../e2e/installation.ts';
import { temporaryDirectory, until } from './fixtures.ts';

/** A connection to a Redis of its own, which ends with the test. */
export async function startRedis(): Promise<Redis> {
  const [program = ''] = globSync(`${inject('componentStore')}/redis/*/bin/redis-server`);
  const [port = 0] = await freePorts(1);
  const child = spawn(program, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', await temporaryDirectory()], { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50 });
  redis.on('error', () => undefined);
  onTestFinished(() => redis.disconnect());
  await until(async () => void (await redis.ping()));
  return redis;
}
