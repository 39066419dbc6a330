import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { chown, mkdir, readdir, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { startScratchRedis } from '../../src/backup/scratch-redis.ts';
import { until } from '../e2e/installation.ts';
import { nobody, redisServer, scratchFolder } from './archives.ts';

describe.runIf(process.getuid?.() === 0)('a scratch Redis', () => {
  let root: string;
  let folder: string;
  beforeEach(async () => {
    root = await scratchFolder();
    // Longer than the address of a socket may be.
    folder = `${root}/${'long-'.repeat(30)}`;
    await mkdir(folder);
    await chown(folder, nobody.uid, nobody.gid);
  });
  afterEach(() => rm(root, { recursive: true }));

  it('ends with the process that started it, also when that is killed, and leaves nothing elsewhere', async () => {
    const before = await readdir(tmpdir());
    const holder = spawn(process.execPath, [`${import.meta.dirname}/scratch-holder.ts`, redisServer(), folder], { stdio: ['ignore', 'pipe', 'inherit'] });
    const [line] = (await once(holder.stdout, 'data')) as [Buffer];
    const pid = Number(line.toString());
    expect(existsSync(`/proc/${pid}`)).toBe(true);
    holder.kill('SIGKILL');
    await until(async () => !existsSync(`/proc/${pid}`), 5_000);
    expect((await readdir(tmpdir())).filter((name) => !before.includes(name) && name.includes('redis'))).toEqual([]);
  });

  it('says why it does not start, and ends without a word where it is told to', async () => {
    const options = { folder, user: nobody, signal: new AbortController().signal, onProgress: () => undefined };
    await expect(startScratchRedis({ ...options, program: '/bin/false' })).rejects.toThrow('it did not start');
    const scratch = await startScratchRedis({ ...options, program: redisServer() });
    await scratch.redis.set('key', '1');
    await scratch.end();
    await scratch[Symbol.asyncDispose]();
    expect((await readdir(folder)).toSorted()).toEqual(['appendonlydir']);
    const again = await startScratchRedis({ ...options, program: redisServer() });
    expect(again.loaded.first).toBe(1);
    await again[Symbol.asyncDispose]();
  });
});
