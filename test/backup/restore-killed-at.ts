import { resolve } from 'node:path';
import { createContext } from '../../src/cli/context.ts';
import { restore } from '../../src/cli/restore.ts';
import { mortalHost } from '../e2e/mortal-host.ts';

/**
 * `restore` as the command runs it, in a process that kills itself with SIGKILL right before its n-th act on the machine:
 *   node restore-killed-at.ts ENV_FILE ARCHIVE N
 * With N = 0 it lives, and writes the name of each act to standard error, a line each.
 */
const [envFile = '', archive = '', count = ''] = process.argv.slice(2);
const context = createContext({ env: envFile, json: true });
const projectRoot = resolve(import.meta.dirname, '../..');
await restore({ ...context, projectRoot, host: mortalHost(context.host, Number(count)) }, archive, { isDryRun: false, isNow: false, isSure: true });
