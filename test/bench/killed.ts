import { setTimeout as delay } from 'node:timers/promises';
import type { BenchInstallation } from './bench-installation.ts';
import type { Row } from './table.ts';

/** Asked every few milliseconds by what it costs to ask; a part that is not back after this long never will be. */
const PATIENCE_MS = 20_000;

/** Kills each part with SIGKILL and measures until it runs again under another pid; one value per part. */
export async function measureKilled(bench: BenchInstallation, signal: AbortSignal): Promise<Row> {
  const ours: number[] = [];
  for (const [part, pid] of Object.entries(await bench.pids())) {
    signal.throwIfAborted();
    process.kill(pid, 'SIGKILL');
    const began = performance.now();
    for (;;) {
      const now = (await bench.pids())[part];
      if (now !== undefined && now !== 0 && now !== pid) break;
      if (performance.now() - began > PATIENCE_MS) throw new Error(`${part} did not come back`);
      await delay(10);
    }
    ours.push((performance.now() - began) / 1000);
  }
  return { name: 'a killed part runs again', unit: 's', ours, floor: [], limit: { value: 2 } };
}
