import { rename, writeFile } from 'node:fs/promises';
import { readIfThere } from './state-file.ts';

/** The serving machines, for Caddy. */
export interface Upstreams {
  /** Whether Caddy has been given any, now or by an agent before. */
  isAny(): Promise<boolean>;
  /** Gives Caddy these, host:port each, instead of those before. Gives whether that changed anything. */
  give(addresses: readonly string[]): Promise<boolean>;
}

/** @param paths see contract/upstream-files.ts */
export function openUpstreams(paths: readonly string[]): Upstreams {
  let given: (string | null)[] | null = null;
  const read = async (): Promise<(string | null)[]> => (given ??= await Promise.all(paths.map(readIfThere)));

  return {
    isAny: async () => (await read()).some((text) => text !== null && text !== ''),
    async give(addresses) {
      const before = await read();
      let isChanged = false;
      // Caddy takes the first for all: while there is none in it, none is asked for.
      const order = [...paths.entries()];
      if (addresses.length > 0) order.reverse();
      for (const [index, path] of order) {
        const wanted = addresses[index % Math.max(1, addresses.length)] ?? '';
        if (before[index] === wanted) continue;
        await replace(path, wanted);
        before[index] = wanted;
        isChanged = true;
      }
      return isChanged;
    },
  };
}

/** One text or the other for who reads it meanwhile. Not synced: after a power cut the agent writes anew what is not as it should be, and clients would wait for the disk. */
async function replace(path: string, text: string): Promise<void> {
  const next = `${path}.next`;
  await writeFile(next, text, { mode: 0o640 });
  await rename(next, path);
}
