import { isReachable } from './node-record.ts';
import type { NodeRecord } from './node-record.ts';

/** What Caddy's running configuration should hold, as Caddy writes it itself, so that the two can be compared. */
export interface GatewayRoutes {
  readonly upstreams: readonly { readonly dial: string }[];
  readonly nodePaths: readonly unknown[];
}

/**
 * The upstreams and one path per machine for these records, at `nowMs` by Redis TIME.
 * New connections go to serving machines only. A draining machine keeps its own path, because joins to its rooms still
 * belong there. The path of a machine that is down answers 503 and goes nowhere else: a node that is asked for a
 * dead node's room waits 3 s for it, while a client that gets 503 retries by itself at once.
 */
export function gatewayRoutes(records: readonly NodeRecord[], nowMs: number): GatewayRoutes {
  const sorted = records.toSorted((a, b) => (a.machine < b.machine ? -1 : 1));
  return {
    upstreams: sorted.filter((record) => record.state === 'serving' && isReachable(record, nowMs)).map((record) => ({ dial: record.signalling })),
    nodePaths: sorted.map((record) => nodePath(record, isReachable(record, nowMs))),
  };
}

/** What clients ask of the address that a join gives: signalling with its validation, and WHIP. LiveKit's server API and agents' socket are not theirs. */
const CLIENT_PATHS = ['/rtc', '/rtc/*', '/whip/*'];

function nodePath(record: NodeRecord, isUp: boolean): unknown {
  const prefix = `/n/${record.machine}`;
  return {
    match: [{ path: CLIENT_PATHS.map((path) => `${prefix}${path}`) }],
    handle: isUp ? [{ handler: 'rewrite', strip_path_prefix: prefix }, proxyTo(record.signalling)] : [unavailable()],
    terminal: true,
  };
}

function proxyTo(dial: string): unknown {
  return {
    handler: 'reverse_proxy',
    upstreams: [{ dial }],
    // Every change of the configuration closes proxied WebSockets that have no such delay.
    stream_close_delay: '24h',
    flush_interval: -1,
    // LiveKit takes the client's address from this header, so a client must not be able to send it.
    headers: { request: { delete: ['CF-Connecting-IP'] } },
  };
}

function unavailable(): unknown {
  // A browser shows a cross-origin client an answer only with this header; LiveKit, which sends it otherwise, is not reached.
  return { handler: 'static_response', status_code: 503, headers: { 'Access-Control-Allow-Origin': ['*'], 'Retry-After': ['1'] } };
}
