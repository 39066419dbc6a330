import * as z from 'zod';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { redisFile, sentinelFile } from '../render/redis.ts';
import { unitFile } from '../render/systemd.ts';
import type { Settings } from '../settings/schema.ts';
import { COMMANDS, roleFile } from '../topology/topology.ts';
import type { Role, Topology } from '../topology/topology.ts';
import { knownHosts } from './ask-fleet.ts';
import { appliedFile } from './observe.ts';

const roleSchema = z.object({ role: z.enum(['all', 'gateway', 'media']) });

/** What a role file says; null where it says nothing. */
export function parseRole(text: string): Role | null {
  return roleSchema.safeParse(JSON.parse(text)).data?.role ?? null;
}

/**
 * Refuses to turn what is deployed here into something else: another role would end parts that other machines count on, and
 * another DATA_DIR would begin with an empty Redis, and at another port the rest of the fleet would not find it.
 * @throws FleetError ROLE_CHANGES, DATA_DIR_MOVES, FLEET_PORTS, exit code 2
 */
export async function checkInstalled(host: Host, settings: Settings, topology: Topology): Promise<void> {
  const { layout, role, supervisor } = topology;
  const [applied, former] = await Promise.all([host.read(appliedFile(topology)), host.read(roleFile(layout))]);
  const was = applied === null || former === null ? null : parseRole(former.content);
  if (was !== null && was !== role)
    throw new FleetError('ROLE_CHANGES', { was: COMMANDS[was], wanted: COMMANDS[role], way: was === 'gateway' ? 'uninstall' : 'leave' }, { exitCode: 2 });
  const unit = supervisor === 'systemd' ? await host.read(unitFile('agent')) : null;
  const folder = /^WorkingDirectory=(.*)\/state$/m.exec(unit?.content ?? '')?.[1] ?? layout.root;
  if (folder !== layout.root) throw new FleetError('DATA_DIR_MOVES', { from: folder, to: layout.root }, { exitCode: 2 });
  if (applied !== null && topology.hasMedia) await checkPorts(host, settings, topology);
}

async function checkPorts(host: Host, settings: Settings, topology: Topology): Promise<void> {
  const others = await knownHosts(host, topology);
  if (others.length === 0) return;
  for (const [variable, was] of await portsOf(host, topology)) {
    if (was !== settings[variable])
      throw new FleetError('FLEET_PORTS', { variable, was, wanted: settings[variable], hosts: others.join(', ') }, { exitCode: 2 });
  }
}

/** The ports by which other machines know this one, as it was deployed. */
async function portsOf(host: Host, topology: Topology): Promise<ReadonlyMap<'AGENT_PORT' | 'SENTINEL_PORT' | 'REDIS_PORT', number>> {
  const files = { AGENT_PORT: `${topology.layout.config}/agent.json`, SENTINEL_PORT: sentinelFile(topology), REDIS_PORT: redisFile(topology) };
  const found = await Promise.all(
    Object.entries(files).map(async ([variable, path]) => {
      const text = (await host.read(path))?.content ?? '';
      return [variable as keyof typeof files, Number(/^(?:port| {2}"port":) (\d+)/m.exec(text)?.[1])] as const;
    }),
  );
  return new Map(found.filter(([, port]) => !Number.isNaN(port)));
}
