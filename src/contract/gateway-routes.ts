import { isReachable } from './node-record.ts';
import type { KnownNode, NodeRecord } from './node-record.ts';

/** What the gateway machine sees itself, whatever the records say. */
export interface MachinesSeen {
  /** True for a machine that does not answer this one. */
  isOutOfReach(machine: string): boolean;
  /** True for one that does not answer this one alone: LiveKit on the others passes on what is for its rooms. */
  isCutOff(machine: string): boolean;
  /** True for one that says nothing though it serves. */
  isQuiet(machine: string): boolean;
  /** True for one that has been down for so long that LiveKit itself takes its node for dead, though its record names it still. */
  isGivenUp?(machine: string): boolean;
}

export const allInReach: MachinesSeen = { isOutOfReach: () => false, isCutOff: () => false, isQuiet: () => false };

/**
 * Where what belongs to no node goes, at `nowMs` by Redis TIME: host:port of the serving machines, in the order of their names.
 * A quiet machine gets nobody new, unless all are quiet.
 */
export function servingUpstreams(records: readonly KnownNode[], nowMs: number, seen: MachinesSeen = allInReach): string[] {
  const sorted = records.toSorted((a, b) => (a.machine < b.machine ? -1 : 1));
  const serving = sorted.filter((record) => record.state === 'serving' && isServed(record, nowMs, seen));
  const speaking = serving.filter((record) => !seen.isQuiet(record.machine));
  return (speaking.length > 0 ? speaking : serving).map((record) => record.signalling);
}

/** What a client comes for: the node of its room and the machine of its path, where they are known. */
export interface Wanted {
  readonly nodeId: string | null;
  readonly machine: string | null;
}

/** What a client is told that is to ask again. */
export const WAIT = 'wait';

/**
 * Where a client's signalling is led: host:port of its room's own node, else of its path's machine; `wait` where it is to ask again; null
 * where any serving machine will do.
 * A draining machine keeps its clients, because joins to its rooms still belong there, and so does one whose agent says nothing though the
 * machine is in reach. For one that is down clients wait while LiveKit's registry may still hold its node, which its record then names,
 * unless it is given up: a node that is asked for a dead node's room waits 3 s for it, while a client that gets 503 retries by itself at
 * once. What is for one that this machine alone does not reach, the others pass on.
 */
export function wayTo(records: readonly KnownNode[], { nodeId, machine }: Wanted, seen: MachinesSeen): string | null {
  const ofRoom = nodeId === null ? undefined : records.find((one) => one.nodeId === nodeId);
  const byRoom = ofRoom === undefined ? null : wayOf(ofRoom, seen);
  // A machine that was stopped has told its rooms.
  if (byRoom !== null && (byRoom !== WAIT || ofRoom?.state !== 'stopped')) return byRoom;
  const ofPath = records.find((one) => one.machine === machine);
  return ofPath === undefined ? null : wayOf(ofPath, seen);
}

function wayOf(record: KnownNode, seen: MachinesSeen): string | null {
  if (isLed(record, seen)) return record.signalling;
  return isOver(record, seen) ? null : WAIT;
}

/** True where nobody need wait for this machine's node any more: it is gone, or others pass on what is for it. */
function isOver({ nodeId, machine }: NodeRecord, seen: MachinesSeen): boolean {
  return nodeId === null || seen.isCutOff(machine) || seen.isGivenUp?.(machine) === true;
}

/** True while connections for this machine's rooms are led to it: its LiveKit may well live where its agent hangs. */
function isLed({ machine, state, isSilent }: KnownNode, seen: MachinesSeen): boolean {
  return (state === 'serving' || state === 'draining' || isSilent === true) && !seen.isOutOfReach(machine) && seen.isGivenUp?.(machine) !== true;
}

/** True while this machine says itself that it serves, and can be reached. */
export function isServed(record: NodeRecord, nowMs: number, seen: MachinesSeen): boolean {
  return isReachable(record, nowMs) && !seen.isOutOfReach(record.machine);
}
