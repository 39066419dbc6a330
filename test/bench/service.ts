import { measureOutgoing, outgoingRow } from './outgoing.ts';
import type { Row } from './table.ts';
import { measureFloor, startBenchService } from './service-process.ts';
import type { LoadKind } from './service-process.ts';

export interface ServiceBenchOptions {
  readonly rounds: number;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** Requests a second that each must reach, with every change on the disk. */
const MUST: Readonly<Record<LoadKind, number>> = { create: 4_000, join: 4_000, webhook: 6_000 };
const KINDS = ['create', 'join', 'webhook'] as const;
const STORED = [1_000, 10_000, 100_000] as const;
/** Some seconds of each. */
const REQUESTS = 30_000;
/** Rooms in which something happens at a time. */
const BUSY_ROOMS = 200;

/** What one service did. */
interface Measured {
  readonly stored: number;
  readonly floor: number;
  readonly perSecond: Readonly<Record<LoadKind, number>>;
  readonly p99Ms: Readonly<Record<LoadKind, number>>;
  readonly peak: number;
}

/** The business service alone under load from a process beside it, over 16 connections, with 1, 10 and 100 thousand rooms that it has kept. */
export async function benchService({ rounds, signal, say }: ServiceBenchOptions): Promise<Row[]> {
  const all: Measured[] = [];
  const outgoing: Array<Awaited<ReturnType<typeof measureOutgoing>>> = [];
  for (let round = 1; round <= rounds; round++) {
    for (const stored of STORED) {
      signal.throwIfAborted();
      const one = await measure(stored);
      all.push(one);
      const figures = KINDS.map((kind) => `${kind} ${one.perSecond[kind].toFixed(0)}/s, p99 ${one.p99Ms[kind].toFixed(1)} ms at half of what it must`);
      say(`round ${round}, ${stored} rooms: floor ${one.floor.toFixed(0)}/s, ${figures.join('; ')}; at most ${one.peak.toFixed(0)} MB`);
    }
    signal.throwIfAborted();
    const sent = await measureOutgoing();
    outgoing.push(sent);
    say(`round ${round}, outgoing webhooks: ${sent.perSecond.toFixed(0)}/s, floor ${sent.floor.toFixed(0)}/s`);
  }
  const at = (stored: number): Measured[] => all.filter((one) => one.stored === stored);
  const [fewest = 0, ...more] = STORED;
  return [
    ...KINDS.flatMap((kind): Row[] => [
      { name: kind, unit: '/s', ours: at(fewest).map((one) => one.perSecond[kind]), floor: at(fewest).map((one) => one.floor), limit: { atLeast: MUST[kind] } },
      { name: `${kind}, p99 at ${MUST[kind] / 2}/s`, unit: 'ms', ours: at(fewest).map((one) => one.p99Ms[kind]), floor: [], limit: { value: 10 } },
      ...more.map((stored): Row => ({
        name: `${kind}, 1,000 of them, ${stored.toLocaleString('en')} rooms stored`,
        unit: 'ms',
        ours: at(stored).map((one) => 1e6 / one.perSecond[kind]),
        floor: at(fewest).map((one) => 1e6 / one.perSecond[kind]),
        limit: { times: 1.2 },
      })),
    ]),
    outgoingRow(outgoing),
    { name: 'resident, at most', unit: 'MB', ours: all.map((one) => one.peak), floor: [], limit: { value: 120 } },
  ];
}

async function measure(stored: number): Promise<Measured> {
  const floor = await measureFloor(REQUESTS);
  const service = await startBenchService(stored);
  try {
    const rooms = await service.createRooms(BUSY_ROOMS);
    const roomsOf = (kind: LoadKind): readonly string[] => (kind === 'join' ? rooms.slice(0, 1) : rooms);
    const perSecond = { create: 0, join: 0, webhook: 0 };
    const p99Ms = { create: 0, join: 0, webhook: 0 };
    for (const kind of KINDS) {
      // Once for V8, which compiles what is used often: a service runs for weeks.
      await service.load({ kind, requests: REQUESTS / 2, perSecond: null, rooms: roomsOf(kind) });
      perSecond[kind] = (await service.load({ kind, requests: REQUESTS, perSecond: null, rooms: roomsOf(kind) })).perSecond;
      const half = MUST[kind] / 2;
      p99Ms[kind] = (await service.load({ kind, requests: half * 5, perSecond: half, rooms: roomsOf(kind) })).p99Ms;
    }
    return { stored, floor, perSecond, p99Ms, peak: (await service.memory()).peak };
  } finally {
    await service.stop();
  }
}
