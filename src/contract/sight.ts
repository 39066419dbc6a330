import { endpointOf } from './node-record.ts';
import type { NodeRecord } from './node-record.ts';

/** Redis hash: machine → its last word, `TIME MACHINE…`: when (Redis TIME, milliseconds), and whom it cannot reach. */
export const SIGHTS_KEY = 'fleet:sights';
/** Redis string of a LiveKit node that the others took for gone: should it live after all, its rooms may go on elsewhere, and it has to end. */
export const fencedKey = (nodeId: string): string => `fleet:fenced:${nodeId}`;
/** A machine that was away for longer has been started anew. */
export const FENCED_SECONDS = 7 * 24 * 3600;
/** Every machine says its word twice a second; who missed three is not heard now. */
const FRESH_MS = 2_000;
/** Machines write their records every second; who missed two, may be gone. */
const SILENT_MS = 2_500;
/** Who has said nothing for so long has left, or is off for good: it is not waited for. */
const GONE_MS = 10 * 60_000;

/** What one machine says that it sees. */
export interface Sight {
  readonly machine: string;
  readonly atMs: number;
  readonly unreachable: readonly string[];
}

/** Reads the fields of the hash; what is no word is left out. */
export function parseSights(fields: Readonly<Record<string, string>>): Sight[] {
  return Object.entries(fields).flatMap(([machine, word]) => {
    const [at = '', ...unreachable] = word.split(' ').filter((one) => one !== '');
    return /^\d+$/.test(at) ? [{ machine, atMs: Number(at), unreachable }] : [];
  });
}

/**
 * The machines that may be gone: their record names a node but grows old, and they are not heard themselves, while more than half of
 * the other machines are, the gateway machine counted. @param nowMs Redis TIME
 */
export function findSilent(records: readonly NodeRecord[], sights: readonly Sight[], nowMs: number): NodeRecord[] {
  const machines = machinesOf(records, sights, nowMs);
  const heard = heardOf(sights, nowMs);
  return records.filter(({ machine, nodeId, updatedAtMs }) => {
    if (nodeId === null || nowMs - updatedAtMs < SILENT_MS || heard.some((one) => one.machine === machine)) return false;
    const others = machines.size - (machines.has(machine) ? 1 : 0);
    return heard.length * 2 > others;
  });
}

/**
 * Those of the silent machines that are gone: all that are heard cannot reach them. One that some machine reaches lives behind a network
 * that is cut in two, or only its agent is silent: its rooms stay, unless its LiveKit has fallen silent as well. @param nowMs Redis TIME
 */
export function findVanished(silent: readonly NodeRecord[], sights: readonly Sight[], nowMs: number): NodeRecord[] {
  const heard = heardOf(sights, nowMs);
  return silent.filter(({ machine }) => heard.every((one) => one.unreachable.includes(machine)));
}

/** True while more than half of all machines are heard: a Redis primary that was cut off, and is about to be replaced, hears few. @param nowMs Redis TIME */
export function areMostHeard(records: readonly NodeRecord[], sights: readonly Sight[], nowMs: number): boolean {
  return heardOf(sights, nowMs).length * 2 > machinesOf(records, sights, nowMs).size;
}

function machinesOf(records: readonly NodeRecord[], sights: readonly Sight[], nowMs: number): ReadonlySet<string> {
  const present = sights.filter((one) => nowMs - one.atMs < GONE_MS);
  return new Set([...records.filter((one) => one.state !== 'stopped'), ...present].map((one) => one.machine));
}

function heardOf(sights: readonly Sight[], nowMs: number): Sight[] {
  return sights.filter((one) => nowMs - one.atMs < FRESH_MS);
}

/**
 * The machines that serve by their record, and have fallen silent: right after a new Redis primary stands, those that have not found it yet.
 * Their LiveKit is no better off: a client that is sent there loses 3 s. @param nowMs Redis TIME
 */
export function findQuiet(records: readonly NodeRecord[], sights: readonly Sight[], nowMs: number): NodeRecord[] {
  // One that never spoke has an agent of before.
  const silent = new Set(sights.filter((one) => nowMs - one.atMs >= FRESH_MS).map((one) => one.machine));
  return records.filter(({ machine, state }) => (state === 'serving' || state === 'draining') && silent.has(machine));
}

/** Where a machine may answer: LiveKit's signalling, and Sentinel. */
export function doorsOf({ signalling }: NodeRecord, sentinelPort: number): { host: string; port: number }[] {
  const livekit = endpointOf(signalling);
  return [livekit, { host: livekit.host, port: sentinelPort }];
}
