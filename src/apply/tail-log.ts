import type { Host } from '../host/host.ts';
import type { Part, Topology } from '../topology/topology.ts';

/** The log file that svlogd is writing for a part. */
export function logFile(topology: Topology, part: Part): string {
  return `${topology.layout.logs}/${part}/current`;
}

/** The last lines of a part's log; empty where there is none yet. */
export async function tailLog(host: Host, topology: Topology, options: { part: Part; lines: number }): Promise<string> {
  const result = await host.run(['tail', '-n', String(options.lines), logFile(topology, options.part)]);
  return result.stdout;
}
