import { createContext } from '../../src/cli/context.ts';
import { deploy } from '../../src/cli/deploy.ts';
import type { Host, StagedFile } from '../../src/host/host.ts';
import { resolve } from 'node:path';

/**
 * `deploy` as the command runs it, in a process that kills itself with SIGKILL right before its n-th act on the machine:
 *   node deploy-killed-at.ts ENV_FILE N
 * With N = 0 it lives, and writes the name of each act to standard error, a line each.
 */
const [envFile = '', count = ''] = process.argv.slice(2);
let left = Number(count);

function act<A extends unknown[], R>(name: string, work: (...words: A) => Promise<R>): (...words: A) => Promise<R> {
  return (...words) => {
    if (count === '0') process.stderr.write(`${name}\n`);
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
    return work(...words);
  };
}

const context = createContext({ env: envFile, json: true });
const { host } = context;
const mortal: Host = {
  run: (argv, options) => act(`run ${argv.slice(0, 2).join(' ')}`, host.run)(argv, options),
  read: host.read,
  list: host.list,
  write: act('write', host.write),
  makeFolder: act('makeFolder', host.makeFolder),
  append: act('append', host.append),
  move: act('move', host.move),
  settle: act('settle', host.settle),
  remove: act('remove', host.remove),
  async stage(path, content, options): Promise<StagedFile> {
    const staged = await act('stage', host.stage)(path, content, options);
    return { settled: staged.settled, commit: act('commit', staged.commit), revert: act('revert', staged.revert) };
  },
};
await deploy(
  { ...context, projectRoot: resolve(import.meta.dirname, '../..'), host: mortal },
  { role: 'all', isDryRun: false, isNewFleet: false, isNow: false, isSure: false },
);
