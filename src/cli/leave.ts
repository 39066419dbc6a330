import { viewFleet } from '../apply/fleet.ts';
import { sendCommands } from '../clients/sentinel.ts';
import { MEMBERS_KEY } from '../contract/knock.ts';
import { CHANGED_CHANNEL, DRAINING_KEY, NODES_KEY } from '../contract/node-record.ts';
import type { HealthContext } from '../health/await-health.ts';
import { FleetError } from '../kernel/errors.ts';
import { masterName, redisFile, sentinelFile } from '../render/redis.ts';
import { appliedFile } from '../apply/observe.ts';
import type { CliContext } from './context.ts';
import { change, endLivekit } from './control.ts';
import { COMMANDS } from './deploy.ts';
import type { WayOptions } from './make-way.ts';

/** A failover takes Sentinel a second or two once it is asked for. */
const HAND_OVER_MS = 20_000;
const POLL_MS = 250;

/**
 * Takes this media machine out of the fleet: its participants first, then Redis's primary goes to another machine, then
 * all parts stop and the registry forgets it. Data and settings stay.
 * @throws FleetError NOT_A_MEDIA_MACHINE, NOT_SURE, NO_OTHER_PRIMARY
 */
export async function leave(context: CliContext, options: WayOptions): Promise<void> {
  await change(context, 'leave', async (deployment) => {
    const { topology } = deployment;
    if (!topology.hasMedia) throw new FleetError('NOT_A_MEDIA_MACHINE', {}, { exitCode: 2 });
    await leaveFleet(context, deployment, options);
    context.reporter.say('LEFT', { command: COMMANDS[topology.role] });
    context.reporter.result({ left: topology.machine });
  });
}

/** What `leave` does; also the first half of an uninstallation. */
export async function leaveFleet(context: CliContext, deployment: HealthContext, options: WayOptions): Promise<void> {
  const { topology, settings, manager } = deployment;
  await endLivekit(context, deployment, { parts: ['livekit'], options });
  await manager.stop('livekit').catch(ignoreStopped);
  const primary = await handOver(context, deployment, options);
  await removeParts(context, deployment);
  // Should it come back, the fleet says who is the primary then, not what this machine knew when it left.
  for (const path of [redisFile(topology), sentinelFile(topology)]) await context.host.remove(path);
  if (primary === null) return;
  const goodbye = [
    ['HDEL', NODES_KEY, topology.machine],
    ['HDEL', MEMBERS_KEY, topology.address],
    ['SREM', DRAINING_KEY, topology.machine],
    ['PUBLISH', CHANGED_CHANNEL, topology.machine],
  ] as const;
  await sendCommands({ ...primary, password: settings.REDIS_PASSWORD }, goodbye);
}

/** Stops all parts and their supervision, for good. */
export async function removeParts({ host, reporter }: CliContext, { topology, manager }: HealthContext): Promise<void> {
  await manager.stopAll();
  for (const part of topology.parts.toReversed()) {
    await manager.retire(part);
    reporter.line(`  ■ ${part}`);
  }
  await host.remove(appliedFile(topology));
}

function ignoreStopped(error: unknown): void {
  // With the supervisor gone there is nobody to tell, and nothing runs.
  if (!(error instanceof FleetError && error.code === 'PART_NOT_CONTROLLED')) throw error;
}

/** Makes another machine's Redis the primary where this one has it. Gives the primary of those who stay; null where nobody does. */
async function handOver(context: CliContext, { settings, topology }: HealthContext, { isNow }: WayOptions): Promise<{ host: string; port: number } | null> {
  const { REDIS_PASSWORD: password, SENTINEL_PORT: port } = settings;
  const before = await viewFleet(settings, topology);
  if (before === null) return null;
  if (before.primary.host !== topology.address) return before.primary;
  if (before.replicas === 0) return null;
  await sendCommands({ host: '127.0.0.1', port, password }, [['SENTINEL', 'FAILOVER', masterName]]);
  for (const deadline = context.now() + HAND_OVER_MS; context.now() < deadline;) {
    const now = await viewFleet(settings, topology);
    if (now !== null && now.primary.host !== topology.address && now.registry !== null) {
      context.reporter.emit({ kind: 'note', code: 'HANDED_OVER', params: { address: now.primary.host } });
      return now.primary;
    }
    context.signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  if (isNow) return null;
  throw new FleetError('NO_OTHER_PRIMARY', { address: topology.address, seconds: HAND_OVER_MS / 1000 });
}
