import { spawn } from 'node:child_process';
import { readFile } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { BenchInstallation } from './bench-installation.ts';
import type { Row } from './table.ts';

/** After this long without work V8 has given back what a start and a meeting left behind. */
const IDLE_MS = 20_000;

/** Memory of agent and service after a meeting and some idle time, beside two Node processes with their flags and no program. */
export async function measureResident(bench: BenchInstallation, signal: AbortSignal): Promise<Row> {
  await bench.timed(['verify']);
  const { agent = 0, service = 0 } = await bench.pids();
  const [node = '', ...words] = (await readFile(`/proc/${agent}/cmdline`, 'utf8')).split('\0');
  const flags = words.slice(
    0,
    words.findIndex((word) => !word.startsWith('--')),
  );
  const bare = [1, 2].map(() => spawn(node, [...flags, '-e', 'setInterval(() => undefined, 3_600_000)'], { stdio: 'ignore' }));
  try {
    await delay(IDLE_MS, undefined, { signal });
    const floor = await Promise.all(bare.map((one) => residentMegabytes(one.pid ?? 0)));
    const ours = await Promise.all([agent, service].map(residentMegabytes));
    return { name: 'agent + service, resident and idle', unit: 'MB', ours: [sum(ours)], floor: [sum(floor)], limit: { value: 150 } };
  } finally {
    for (const one of bare) one.kill();
  }
}

/** VmRSS of a process in MB (10^6 bytes); /proc gives KiB. */
async function residentMegabytes(pid: number): Promise<number> {
  const found = /^VmRSS:\s+(\d+) kB$/m.exec(await readFile(`/proc/${pid}/status`, 'utf8'));
  return (Number(found?.[1]) * 1024) / 1e6;
}

function sum(values: readonly number[]): number {
  return values.reduce((total, value) => total + value, 0);
}
