import type { Row } from './table.ts';
import { startBenchService } from './service-process.ts';
import type { BenchService, LoadKind } from './service-process.ts';

export interface SoakOptions {
  readonly minutes: number;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** A tenth of what each must reach: what a busy fleet asks for all day. */
const PER_SECOND: Readonly<Record<LoadKind, number>> = { create: 400, join: 400, webhook: 600 };
const KINDS = ['create', 'join', 'webhook'] as const;
const BUSY_ROOMS = 200;
const MINUTE_S = 60;
/** The first minutes fill caches, and V8's heap. */
const WARM_MINUTES = 2;

interface Minute {
  readonly p99Ms: number;
  readonly memory: number;
  readonly files: number;
}

/** The business service under a steady load for many minutes: what it takes at the end beside what it took after the first ones. */
export async function benchSoak({ minutes, signal, say }: SoakOptions): Promise<Row[]> {
  const service = await startBenchService(1_000);
  try {
    const rooms = await service.createRooms(BUSY_ROOMS);
    const all: Minute[] = [];
    for (let minute = 1; minute <= minutes; minute++) {
      signal.throwIfAborted();
      const one = await measureMinute(service, rooms);
      all.push(one);
      say(`minute ${minute}: p99 ${one.p99Ms.toFixed(1)} ms, ${one.memory.toFixed(0)} MB, ${one.files} open files`);
    }
    const rest = all.slice(WARM_MINUTES);
    const [early, late] = [rest.slice(0, Math.floor(rest.length / 2)), rest.slice(Math.ceil(rest.length / 2))];
    const row = (name: string, unit: Row['unit'], of: (one: Minute) => number, times: number): Row => ({
      name: `${name}, second half beside the first`,
      unit,
      ours: late.map(of),
      floor: early.map(of),
      limit: { times },
    });
    return [
      row('p99 of all requests', 'ms', ({ p99Ms }) => p99Ms, 1.5),
      row('resident', 'MB', ({ memory }) => memory, 1.1),
      row('open files', '', ({ files }) => files, 1.05),
    ];
  } finally {
    await service.stop();
  }
}

/** All kinds at once. */
async function measureMinute(service: BenchService, rooms: readonly string[]): Promise<Minute> {
  const results = await Promise.all(
    KINDS.map((kind) =>
      service.load({ kind, requests: PER_SECOND[kind] * MINUTE_S, perSecond: PER_SECOND[kind], rooms: kind === 'join' ? rooms.slice(0, 1) : rooms }),
    ),
  );
  return { p99Ms: Math.max(...results.map(({ p99Ms }) => p99Ms)), memory: (await service.memory()).now, files: await service.openFiles() };
}
