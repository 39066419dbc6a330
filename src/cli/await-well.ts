import { awaitNode } from '../apply/await-node.ts';
import { awaitHealth } from '../health/await-health.ts';
import type { HealthContext } from '../health/await-health.ts';
import { findUser } from '../host/service-user.ts';
import type { Part } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/**
 * After Redis's data were replaced: waits until rooms have a path on this machine, and parts are well with that. Health alone says what
 * LiveKit and Caddy know from before, and no longer a moment later.
 * @param machine.parts those that must be well; all of them by default
 * @throws FleetError NOT_HEALTHY; the signal's reason
 */
export async function awaitWell({ host, now, signal }: CliContext, machine: Omit<HealthContext, 'user'> & { readonly parts?: readonly Part[] }): Promise<void> {
  await awaitNode({ ...machine, now, signal });
  const user = await findUser(host, machine.settings.SERVICE_USER);
  await awaitHealth({ ...machine, user, now, signal });
}
