import { mkdir, mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { acceptSwap, asideFolder, completeSwap, swap, undoSwap, undoneFolder, unfinishedSwap } from '../../src/backup/swap.ts';
import type { SwapItem } from '../../src/backup/swap.ts';
import { localHost } from '../../src/host/host.ts';
import type { Host } from '../../src/host/host.ts';
import { FleetError } from '../../src/kernel/errors.ts';
import { stagingFolder } from '../../src/topology/restore-files.ts';
import type { Layout } from '../../src/topology/topology.ts';

function text(path: string): Promise<string | null> {
  return readFile(path, 'utf8').catch(() => null);
}

/** There is space for everything. */
function onLost(error: Error): never {
  throw error;
}

/** Files get root as their owner. */
describe.runIf(process.getuid?.() === 0)('what a restore swaps', () => {
  const host = localHost();
  let folder: string;
  let layout: Layout;
  let items: SwapItem[];
  const days = (): Promise<Array<string | null>> =>
    Promise.all([text(`${folder}/state/redis/data`), text(`${folder}/state/agent/data`), text(`${folder}/env`), text(`${folder}/version`)]);
  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/livekit-fleet-swap-`);
    layout = { state: `${folder}/state` } as Layout;
    const place = stagingFolder(layout);
    const item = (live: string, name: string, more: Partial<SwapItem> = {}): SwapItem => ({
      live,
      staged: `${place}/new/${name}`,
      former: `${asideFolder(layout)}/${name}`,
      hadLive: false,
      isText: false,
      ...more,
    });
    items = [
      item(`${folder}/state/redis`, 'redis', { hadLive: true }),
      item(`${folder}/state/agent`, 'agent'),
      item(`${folder}/version`, 'version', { isText: true }),
      item(`${folder}/env`, 'env', { hadLive: true, isText: true }),
    ];
  });
  afterEach(() => rm(folder, { recursive: true }));

  /** Swaps, from what stood today to what the archive has, and writes into that. */
  async function begin(): Promise<void> {
    for (const one of ['state/redis', 'state/restore/new/redis', 'state/restore/new/agent']) await mkdir(`${folder}/${one}`, { recursive: true });
    await writeFile(`${folder}/state/redis/data`, 'today');
    await writeFile(`${folder}/env`, 'today');
    for (const one of ['redis/data', 'agent/data', 'env', 'version']) await writeFile(`${stagingFolder(layout)}/new/${one}`, 'then');
    await swap(host, layout, { items, parts: ['redis'], exchangeId: null, database: null, isBare: false });
    expect(await days()).toEqual(['then', 'then', 'then', 'then']);
    for (const path of ['state/redis/data', 'state/agent/data', 'env', 'version']) await writeFile(`${folder}/${path}`, 'since');
  }
  const former = ['today', null, 'today', null];

  it('is back after an undo, and what was written since is kept, each time in a folder of its own', async () => {
    for (const name of ['first', 'second']) {
      await begin();
      expect(await undoSwap(host, layout, { keptAs: name, onLost })).toBe(`${undoneFolder(layout)}/${name}`);
      expect(await days()).toEqual(former);
      expect(await unfinishedSwap(host, layout)).toBeNull();
      for (const one of ['redis.undone/data', 'agent.undone/data', 'env.undone', 'version.undone'])
        expect(await text(`${undoneFolder(layout)}/${name}/${one}`), one).toBe('since');
      expect(await readdir(layout.state)).not.toContain('restore');
    }
    expect((await readdir(undoneFolder(layout))).toSorted()).toEqual(['first', 'second']);
  });

  it('is kept as well where the undo itself is broken off before any of its acts', async () => {
    for (let n = 1; ; n++) {
      await rm(`${folder}/state`, { recursive: true, force: true });
      await begin();
      let left = n;
      const act =
        <A extends unknown[]>(work: (...words: A) => Promise<void>) =>
        async (...words: A): Promise<void> => {
          left -= 1;
          if (left === 0) throw new Error('broken off');
          await work(...words);
        };
      const { write, move, remove, makeFolder } = host;
      const mortal = { ...host, write: act(write), move: act(move), remove: act(remove), makeFolder: act(makeFolder) };
      const isBrokenOff = await undoSwap(mortal, layout, { keptAs: 'first', onLost }).then(
        () => false,
        () => true,
      );
      if (!isBrokenOff) break;
      await undoSwap(host, layout, { keptAs: 'second', onLost });
      expect(await days(), `before act ${n}`).toEqual(former);
      const kept = (await readdir(undoneFolder(layout), { recursive: true })).map((path) => path.replace(/^(first|second)\/?/, ''));
      for (const one of ['redis.undone/data', 'agent.undone/data', 'env.undone', 'version.undone']) expect(kept, `before act ${n}`).toContain(one);
    }
  });

  it('comes back where there is no space to keep a text that was in use, which is said', async () => {
    await begin();
    const full = new FleetError('DISK_FULL', { path: 'the disk' });
    const tight: Host = { ...host, write: (path, ...words) => (path.endsWith('.undone') ? Promise.reject(full) : host.write(path, ...words)) };
    const lost: Error[] = [];
    await undoSwap(tight, layout, { keptAs: 'first', onLost: (error) => lost.push(error) });
    expect(lost).toEqual([full, full]);
    expect(await days()).toEqual(former);
    expect((await readdir(`${undoneFolder(layout)}/first`)).toSorted()).toEqual(['agent.undone', 'redis.undone']);
  });

  it('is not kept where nothing has run with it, and stays once it was accepted', async () => {
    await begin();
    expect(await undoSwap(host, layout, { keptAs: null, onLost })).toBeNull();
    expect(await days()).toEqual(former);
    expect(await readdir(layout.state)).toEqual(['redis']);
    await begin();
    await acceptSwap(host, layout);
    await completeSwap(host, layout);
    expect(await days()).toEqual(['since', 'since', 'since', 'since']);
    expect(await text(`${layout.state}/before-restore/redis/data`)).toBe('today');
  });
});
