import { randomUUID } from 'node:crypto';
import { appendFile, rename } from 'node:fs/promises';
import * as z from 'zod';
import { createInstallation } from '../e2e/installation.ts';
import type { Installation } from '../e2e/installation.ts';

/** An installation that is measured. */
export interface BenchInstallation {
  readonly place: Installation;
  /** DATA_DIR. */
  readonly data: string;
  /** Runs a command of the product that must succeed; gives its seconds from start to exit. */
  timed(words: readonly string[], env?: Record<string, string>): Promise<number>;
  /** Pid by part. */
  pids(): Promise<Record<string, number>>;
  /** Stops what runs and forgets DATA_DIR; the `.env` with its secrets stays. */
  clear(): Promise<void>;
  /** Puts DATA_DIR aside till the end: for a minute or more after a removal, ext4 without a journal searches for inodes that were not just freed, a millisecond or more for each new file. */
  forgetData(): Promise<void>;
}

/**
 * Works with an installation of its own, which is stopped and removed in any case.
 * @param store component store; null: one of its own, filled by the first deploy
 */
export async function withInstallation<T>(store: string | null, work: (bench: BenchInstallation) => Promise<T>): Promise<T> {
  const place = await createInstallation();
  const bench = benchOf(place);
  try {
    await appendFile(place.envFile, `COMPONENT_DIR=${store ?? `${place.folder}/store`}\n`);
    return await work(bench);
  } finally {
    await bench.clear();
    await place.remove();
  }
}

function benchOf(place: Installation): BenchInstallation {
  const data = `${place.folder}/data`;
  const forgetData = (): Promise<void> => rename(data, `${place.folder}/former-${randomUUID()}`).catch(ignoreMissing);
  return {
    place,
    data,
    async timed(words, env = {}) {
      const began = performance.now();
      const { code, err } = await place.run(words, env);
      const seconds = (performance.now() - began) / 1000;
      if (code !== 0) throw new Error(`${words.join(' ')} ended with ${code}: ${err}`);
      return seconds;
    },
    async pids() {
      const { out } = await place.run(['status', '--json']);
      return Object.fromEntries(statusSchema.parse(JSON.parse(out)).parts.map(({ part, pid }) => [part, pid ?? 0]));
    },
    async clear() {
      await place.run(['stop']);
      await forgetData();
    },
    forgetData,
  };
}

function ignoreMissing(error: NodeJS.ErrnoException): void {
  if (error.code !== 'ENOENT') throw error;
}

const statusSchema = z.object({ parts: z.array(z.object({ part: z.string(), pid: z.number().nullable() })) });
