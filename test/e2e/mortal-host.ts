import type { Host, StagedFile } from '../../src/host/host.ts';

/** To be told of each act before it: right before the n-th this process kills itself with SIGKILL. With n = 0 it lives, and the name of each goes to standard error, a line each. */
export function deathBefore(n: number): (name: string) => void {
  let left = n;
  return (name) => {
    if (n === 0) process.stderr.write(`${name}\n`);
    left -= 1;
    if (left === 0) process.kill(process.pid, 'SIGKILL');
  };
}

/** A host that tells `before` the name of each act on the machine. */
export function mortalHost(host: Host, before: (name: string) => void): Host {
  function act<A extends unknown[], R>(name: string, work: (...words: A) => Promise<R>): (...words: A) => Promise<R> {
    return (...words) => {
      before(name);
      return work(...words);
    };
  }
  return {
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
}
