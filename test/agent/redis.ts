import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { Redis } from 'ioredis';
import { inject, onTestFinished } from 'vitest';
import { freePorts } from '../e2e/installation.ts';
import { temporaryDirectory } from './fixtures.ts';

/** A real Redis; gives connections to it. */
export async function startRedis(): Promise<{ port: number; connect: () => Redis; kill: () => void; freeze: () => void }> {
  const [port = 0] = await freePorts(1);
  const [program = ''] = globSync(`${inject('componentStore')}/redis/*/bin/redis-server`);
  const child = spawn(program, ['--port', String(port), '--bind', '127.0.0.1', '--save', '', '--dir', await temporaryDirectory()], { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
  const connect = (): Redis => {
    const redis = new Redis({ port, host: '127.0.0.1', retryStrategy: () => 50 });
    redis.on('error', () => undefined);
    onTestFinished(() => redis.disconnect());
    return redis;
  };
  return { port, connect, kill: () => void child.kill('SIGKILL'), freeze: () => void child.kill('SIGSTOP') };
}
