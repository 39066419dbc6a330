import type { Host } from '../host/host.ts';
import type { Desired, Observed } from '../plan/plan.ts';
import type { RenderedFile } from '../render/rendered-file.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { isFirewallConfirmed } from './firewall.ts';

/** Where the fingerprints of started parts are kept; written after each start, so that a killed run converges. */
export function appliedFile(topology: Topology): string {
  return `${topology.layout.run}/applied.json`;
}

/** Reads what stands on the machine; changes nothing. */
export async function observe(host: Host, desired: Desired, context: { topology: Topology; manager: ServiceManager }): Promise<Observed> {
  const { topology, manager } = context;
  const files = new Map<string, { content: string; mode: number }>();
  const read = await Promise.all(desired.files.map(async (file) => [file.path, await readNow(host, file)] as const));
  for (const [path, found] of read) if (found !== null) files.set(path, found);
  const applied = await readApplied(host, topology);
  if (!(await isFirewallConfirmed(host, desired, topology))) delete applied.firewall;
  const statuses = await manager.status(topology.parts);
  // One that a run which was broken off has told to end is ended, with the time that people in it are owed, and started.
  for (const { part, state } of statuses) if (state === 'stopping') delete applied[part];
  return { files, applied, running: new Set(statuses.filter(({ state }) => state === 'running' || state === 'stopping').map((one) => one.part)) };
}

/** What stands at a file's place; a copy that is whole is what it was made of. */
async function readNow(host: Host, { path, content, copyOf }: RenderedFile): Promise<{ content: string; mode: number } | null> {
  if (copyOf === undefined) return host.read(path);
  const found = await host.read(path, { isBinary: true });
  if (found === null) return null;
  const original = await host.read(copyOf, { isBinary: true, followLinks: true });
  return { ...found, content: found.content === original?.content ? content : '' };
}

/** The fingerprints noted so far; empty where none or unreadable. */
export async function readApplied(host: Host, topology: Topology): Promise<Partial<Record<Part, string>>> {
  const found = await host.read(appliedFile(topology));
  if (found === null) return {};
  try {
    const parsed: unknown = JSON.parse(found.content);
    return typeof parsed === 'object' && parsed !== null && !Array.isArray(parsed) ? parsed : {};
  } catch {
    return {};
  }
}
