import { isReachable } from './node-record.ts';
import type { KnownNode, NodeRecord } from './node-record.ts';

/** What Caddy's running configuration should hold, as Caddy writes it itself, so that the two can be compared. */
export interface GatewayRoutes {
  readonly upstreams: readonly { readonly dial: string }[];
  readonly nodePaths: readonly unknown[];
}

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
 * The upstreams and one path per machine for these records, at `nowMs` by Redis TIME.
 * New connections go to serving machines only. A draining machine keeps its own path, because joins to its rooms still
 * belong there, and so does one whose agent says nothing though the machine is in reach. The path of a machine that is down leads to the others, but answers 503 while LiveKit's registry may still
 * hold its node, which its record then names, unless it is given up: a node that is asked for a dead node's room waits 3 s for it, while a
 * client that gets 503 retries by itself at once.
 * The path of a machine that only this one does not reach leads to the others too. A quiet machine gets nobody new, unless all are quiet.
 */
export function gatewayRoutes(records: readonly KnownNode[], nowMs: number, seen: MachinesSeen = allInReach): GatewayRoutes {
  const sorted = records.toSorted((a, b) => (a.machine < b.machine ? -1 : 1));
  const serving = sorted.filter((record) => record.state === 'serving' && isServed(record, nowMs, seen));
  const speaking = serving.filter((record) => !seen.isQuiet(record.machine));
  const upstreams = (speaking.length > 0 ? speaking : serving).map((record) => ({ dial: record.signalling }));
  return {
    upstreams,
    nodePaths: sorted.map((record) => nodePath(record.machine, isLed(record, seen) ? [{ dial: record.signalling }] : isOver(record, seen) ? upstreams : [])),
  };
}

/**
 * Where a client's signalling is led whose room is on this node: host:port of the node's machine, `wait` where it is to ask again, and null
 * where its path decides, since the node is nobody's, or the others pass on what is for it, as they do while its agent has ended.
 */
export function wayToNode(records: readonly KnownNode[], nodeId: string, seen: MachinesSeen): string | null {
  const record = records.find((one) => one.nodeId === nodeId);
  if (record === undefined) return null;
  if (isLed(record, seen)) return record.signalling;
  return isOver(record, seen) || record.state === 'stopped' ? null : WAIT;
}

export const WAIT = 'wait';

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

/** What clients ask of the address that a join gives: signalling with its validation, and WHIP. LiveKit's server API and agents' socket are not theirs. */
const CLIENT_PATHS = ['/rtc', '/rtc/*', '/whip/*'];

function nodePath(machine: string, upstreams: GatewayRoutes['upstreams']): unknown {
  const prefix = `/n/${machine}`;
  return {
    match: [{ path: CLIENT_PATHS.map((path) => `${prefix}${path}`) }],
    handle: upstreams.length > 0 ? [{ handler: 'rewrite', strip_path_prefix: prefix }, proxyTo(upstreams)] : [unavailable()],
    terminal: true,
  };
}

/** The proxy handler of a node's own path. */
export function proxyTo(upstreams: GatewayRoutes['upstreams']): Readonly<Record<string, unknown>> {
  return {
    handler: 'reverse_proxy',
    upstreams,
    // Every change of the configuration closes proxied WebSockets that have no such delay.
    stream_close_delay: '24h',
    flush_interval: -1,
    // LiveKit takes the client's address from this header, so a client must not be able to send it.
    headers: { request: { delete: ['CF-Connecting-IP'] } },
  };
}

/** Answers that a client should ask again soon. */
export function unavailable(): unknown {
  // A browser shows a cross-origin client an answer only with this header; LiveKit, which sends it otherwise, is not reached.
  return { handler: 'static_response', status_code: 503, headers: { 'Access-Control-Allow-Origin': ['*'], 'Retry-After': ['1'] } };
}
