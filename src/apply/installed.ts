import * as z from 'zod';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { unitFile } from '../render/systemd.ts';
import { COMMANDS, roleFile } from '../topology/topology.ts';
import type { Role, Topology } from '../topology/topology.ts';
import { appliedFile } from './observe.ts';

const roleSchema = z.object({ role: z.enum(['all', 'gateway', 'media']) });

/** What a role file says; null where it says nothing. */
export function parseRole(text: string): Role | null {
  return roleSchema.safeParse(JSON.parse(text)).data?.role ?? null;
}

/**
 * Refuses to turn what is deployed here into something else: another role would end parts that other machines count on, and
 * another DATA_DIR would begin with an empty Redis.
 * @throws FleetError ROLE_CHANGES, DATA_DIR_MOVES, exit code 2
 */
export async function checkInstalled(host: Host, topology: Topology): Promise<void> {
  const { layout, role, supervisor } = topology;
  const [applied, former] = await Promise.all([host.read(appliedFile(topology)), host.read(roleFile(layout))]);
  const was = applied === null || former === null ? null : parseRole(former.content);
  if (was !== null && was !== role)
    throw new FleetError('ROLE_CHANGES', { was: COMMANDS[was], wanted: COMMANDS[role], way: was === 'gateway' ? 'uninstall' : 'leave' }, { exitCode: 2 });
  const unit = supervisor === 'systemd' ? await host.read(unitFile('agent')) : null;
  const folder = /^WorkingDirectory=(.*)\/state$/m.exec(unit?.content ?? '')?.[1] ?? layout.root;
  if (folder !== layout.root) throw new FleetError('DATA_DIR_MOVES', { from: folder, to: layout.root }, { exitCode: 2 });
}
