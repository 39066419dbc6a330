import { createContext } from '../../src/cli/context.ts';
import { deploy } from '../../src/cli/deploy.ts';
import { resolve } from 'node:path';
import { deathBefore, mortalHost } from './mortal-host.ts';

/**
 * `deploy` as the command runs it, in a process that kills itself with SIGKILL right before its n-th act on the machine:
 *   node deploy-killed-at.ts ENV_FILE N
 * With N = 0 it lives, and writes the name of each act to standard error, a line each.
 */
const [envFile = '', count = ''] = process.argv.slice(2);
const context = createContext({ env: envFile, json: true });
await deploy(
  { ...context, projectRoot: resolve(import.meta.dirname, '../..'), host: mortalHost(context.host, deathBefore(Number(count))) },
  { role: 'all', isDryRun: false, isNewFleet: false, isNow: false, isSure: false },
);
