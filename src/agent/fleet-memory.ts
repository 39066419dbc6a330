import { isDeepStrictEqual } from 'node:util';
import { parseFleetMemory } from '../contract/fleet-memory.ts';
import { RECORD_MAX_AGE_MS } from '../contract/node-record.ts';
import type { KnownNode, NodeRecord } from '../contract/node-record.ts';
import { readIfThere, writeAtomically } from './state-file.ts';

/** How long after Redis came back machines get to write their records anew: their reconnection (1 s) and a few heart-beats. */
export const SETTLE_MS = 5_000;

/** One look at the registry. */
export interface FleetReading {
  readonly records: readonly NodeRecord[];
  /** Redis TIME. */
  readonly nowMs: number;
  /** For how long Redis has answered without a break, by the local clock. */
  readonly readableForMs: number;
}

/**
 * The fleet to act on. What a machine says freshly, or said last about its own end, counts. Silence counts only where
 * others are heard and had the time to speak: after an outage of Redis itself every record is old or gone, and that
 * says nothing about LiveKit, so the known state stays. Gives records whose `state` is final and whose time is `nowMs`.
 */
export function settleFleet(reading: FleetReading, known: readonly KnownNode[]): KnownNode[] {
  const isFresh = (record: NodeRecord): boolean => reading.nowMs - record.updatedAtMs < RECORD_MAX_AGE_MS;
  const isSilenceTelling = reading.readableForMs >= SETTLE_MS && reading.records.some(isFresh);
  const knownByMachine = new Map(known.map((record) => [record.machine, record]));
  const settled = reading.records.map((record): KnownNode => {
    const isFinal = isFresh(record) || record.state === 'down' || record.state === 'stopped';
    if (isFinal) return { ...record, updatedAtMs: reading.nowMs };
    const before = knownByMachine.get(record.machine);
    const heard =
      isSilenceTelling || before === undefined ? ({ state: 'down', isSilent: true } as const) : { state: before.state, isSilent: before.isSilent === true };
    return { ...record, ...heard, updatedAtMs: reading.nowMs };
  });
  if (isSilenceTelling) return settled;
  const read = new Set(settled.map((record) => record.machine));
  return [...settled, ...holdFleet(known, reading.nowMs).filter((record) => !read.has(record.machine))];
}

/** The known records as if just heard: for the time in which Redis cannot be asked. */
export function holdFleet(known: readonly KnownNode[], nowMs: number): KnownNode[] {
  return known.map((record) => ({ ...record, updatedAtMs: nowMs }));
}

/** The last known fleet in a file, so that the gateway also starts while Redis is away. */
export interface FleetMemory {
  /** The remembered records; null where nothing usable was ever written. */
  load(): Promise<NodeRecord[] | null>;
  /** Writes atomically, and only where something other than the time differs. */
  save(records: readonly NodeRecord[]): Promise<void>;
}

/** Keeps the fleet in `path`, readable by its owner only. */
export function openFleetMemory(path: string): FleetMemory {
  let saved: Record<string, NodeRecord> | null = null;
  return {
    async load() {
      const text = await readIfThere(path);
      if (text === null) return null;
      const records = parseFleetMemory(text);
      if (records !== null) saved = byMachine(records);
      return records;
    },
    async save(records) {
      const next = byMachine(records);
      if (isDeepStrictEqual(next, saved)) return;
      await writeAtomically(path, `${JSON.stringify(next, null, 1)}\n`);
      saved = next;
    },
  };
}

function byMachine(records: readonly NodeRecord[]): Record<string, NodeRecord> {
  return Object.fromEntries(records.map((record) => [record.machine, { ...record, updatedAtMs: 0 }]));
}
