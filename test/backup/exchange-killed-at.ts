import { Redis } from 'ioredis';
import { openExchange } from '../../src/backup/exchange.ts';
import { startScratchRedis } from '../../src/backup/scratch-redis.ts';

/**
 * A whole exchange in a process that kills itself with SIGKILL right before its n-th command to the primary, or to the scratch Redis that
 * sends it data: node exchange-killed-at.ts PROGRAM FOLDER PORT PASSWORD N
 * With N = 0 it lives, and writes the name of each command to standard error, a line each.
 */
const [program = '', folder = '', port = '', password = '', count = ''] = process.argv.slice(2);
const signal = new AbortController().signal;
const user = { uid: 65_534, gid: 65_534 };
const scratch = await startScratchRedis({ program, folder, user, signal, onProgress: () => undefined });
let left = Number(count);
const send = Redis.prototype.sendCommand;
Redis.prototype.sendCommand = function counted(this: Redis, ...words: Parameters<typeof send>) {
  const name = words[0].name.toLowerCase();
  if (String(this.options.port) === port || name === 'migrate') {
    if (count === '0') process.stderr.write(`${name}\n`);
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  }
  return send.apply(this, words);
};
const exchange = await openExchange({ host: '127.0.0.1', port: Number(port), password }, { id: 'id', machine: 'm1' });
await exchange.claim();
await exchange.load(scratch.redis, { signal, onProgress: () => undefined });
await exchange.begin(1);
if (!(await exchange.stands())) throw new Error('it does not stand');
await exchange.end();
exchange.close();
await scratch[Symbol.asyncDispose]();
