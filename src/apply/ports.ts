import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings, VariableName } from '../settings/schema.ts';
import type { Part, Topology } from '../topology/topology.ts';

const LISTENERS: ReadonlyArray<{ part: Part; variable: VariableName }> = [
  { part: 'caddy', variable: 'HTTP_PORT' },
  { part: 'caddy', variable: 'HTTPS_PORT' },
  { part: 'caddy', variable: 'GATEWAY_INTERNAL_PORT' },
  { part: 'service', variable: 'SERVICE_PORT' },
  { part: 'livekit', variable: 'LIVEKIT_HTTP_PORT' },
  { part: 'livekit', variable: 'LIVEKIT_TCP_PORT' },
  { part: 'livekit', variable: 'METRICS_PORT' },
  { part: 'redis', variable: 'REDIS_PORT' },
  { part: 'sentinel', variable: 'SENTINEL_PORT' },
  { part: 'agent', variable: 'AGENT_PORT' },
];

/**
 * Refuses before anything changes when another program listens on a port of a part that is about to start.
 * @throws FleetError PORT_TAKEN naming the program and its pid (from `ss -ltnp`)
 */
export async function checkPorts(host: Host, settings: Settings, context: { topology: Topology; starting: ReadonlySet<Part>; listing: string }): Promise<void> {
  for (const { part, variable } of LISTENERS) {
    if (!context.starting.has(part) || (variable === 'HTTP_PORT' && context.topology.plainUrl === null && context.topology.tls.kind === 'files')) continue;
    const port = Number(settings[variable]);
    if (listenerLine(context.listing, port) === undefined) continue;
    const owner = /users:\(\("([^"]+)",pid=(\d+)/.exec(listenerLine((await host.run(['ss', '-H', '-ltnp'])).stdout, port) ?? '');
    throw new FleetError('PORT_TAKEN', { port, use: part, program: owner === null ? '?' : `${owner[1]} (pid ${owner[2]})`, variable });
  }
}

/** Everything that listens on TCP, for checkPorts; without the programs: to find those takes longer than all else before a start. */
export async function listListeners(host: Host): Promise<string> {
  return (await host.run(['ss', '-H', '-ltn'])).stdout;
}

/** The line of `ss -H -ltn` about a port. */
function listenerLine(listing: string, port: number): string | undefined {
  return listing.split('\n').find((line) => line.split(/\s+/)[3]?.endsWith(`:${port}`) === true);
}
