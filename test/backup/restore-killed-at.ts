import { open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { resolve } from 'node:path';
import { Redis } from 'ioredis';
import { createContext } from '../../src/cli/context.ts';
import { restore } from '../../src/cli/restore.ts';
import { deathBefore, mortalHost } from '../e2e/mortal-host.ts';

/**
 * `restore` as the command runs it, in a process that kills itself with SIGKILL right before its n-th act on the machine:
 *   node restore-killed-at.ts ENV_FILE ARCHIVE N [acts|writes|redis]
 * With N = 0 it lives, and writes the name of each act to standard error, a line each. Acts are those of its host; or the pieces of
 * files that it writes itself, as while it unpacks; or those of its host and its commands to the fleet's Redis.
 */
const [envFile = '', archive = '', count = '', kind = 'acts'] = process.argv.slice(2);
const act = deathBefore(Number(count));

if (kind === 'writes') {
  const handle = await open('/dev/null', 'w');
  const pieces = Object.getPrototypeOf(handle) as FileHandle;
  await handle.close();
  const { write } = pieces;
  pieces.write = function counted(this: FileHandle, ...words: unknown[]) {
    act('write');
    return Reflect.apply(write, this, words) as never;
  } as FileHandle['write'];
}
if (kind === 'redis') {
  const send = Redis.prototype.sendCommand;
  Redis.prototype.sendCommand = function counted(this: Redis, ...words: Parameters<typeof send>) {
    const name = words[0].name.toLowerCase();
    // Not those that ask how it goes.
    if (/^(eval|migrate|select|wait|set|del|shutdown|flushdb|restore|client)$/.test(name)) act(`redis ${name}`);
    return send.apply(this, words);
  };
}

const context = createContext({ env: envFile, json: true });
const projectRoot = resolve(import.meta.dirname, '../..');
const host = kind === 'writes' ? context.host : mortalHost(context.host, act);
await restore({ ...context, projectRoot, host }, archive, { isDryRun: false, isNow: false, isSure: true, isAlone: false });
