import { viewFleet, knownHosts } from '../apply/ask-fleet.ts';
import { handOver, sayGoodbye, giveTurn, takeTurn } from '../apply/goodbye.ts';
import type { GoodbyeContext } from '../apply/goodbye.ts';
import { awaitDelivery } from '../apply/last-webhooks.ts';
import { writeLeft } from '../apply/left-fleet.ts';
import { appliedFile } from '../apply/observe.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { FLEET_MEMORY } from '../contract/fleet-memory.ts';
import { upstreamFiles } from '../contract/upstream-files.ts';
import { hostOf } from '../contract/node-record.ts';
import type { HealthContext } from '../health/await-health.ts';
import { FleetError } from '../kernel/errors.ts';
import { redisFile, redisFolder, sentinelFile } from '../render/redis.ts';
import { ignoreUncontrolled } from '../supervisor/service-manager.ts';
import { COMMANDS } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { change, endLivekit } from './control.ts';
import type { WayOptions } from './make-way.ts';

/** The last webhooks, the turn, the hand-over and the goodbye get this long each, so that another machine can have left before. */
const PATIENCE_MS = 60_000;
/** Sentinel asks the primary for its replicas every ten seconds: one that has just come is known by then. */
const REPLICA_MS = 15_000;
/** With --now. */
const HASTE_MS = 10_000;

/** Those whom this machine leaves behind. */
interface Farewell {
  /** Null where nobody could be told. */
  readonly fleet: FleetView | null;
  /** Addresses of the other media machines. */
  readonly staying: readonly string[];
}

/**
 * Takes this media machine out of the fleet: its participants first, then Redis's primary goes to another machine, then
 * the registry forgets it and all parts stop. Settings stay; the data do where nobody else has them. May be repeated.
 * @throws FleetError NOT_A_MEDIA_MACHINE, NOT_SURE, NO_OTHER_PRIMARY, NO_PRIMARY, FLEET_UNREACHABLE, OTHER_IS_LEAVING, GOODBYE_FAILED; the parts run on then
 */
export async function leave(context: CliContext, options: WayOptions): Promise<void> {
  await change(context, 'leave', async (deployment, hasSettled) => {
    const { topology } = deployment;
    if (!topology.hasMedia) throw new FleetError('NOT_A_MEDIA_MACHINE', {}, { exitCode: 2 });
    await leaveFleet(context, deployment, { ...options, hasSettled });
    context.reporter.say('LEFT', { command: COMMANDS[topology.role] });
    context.reporter.result({ left: topology.machine });
  });
}

/** What `leave` does; also the first half of an uninstallation. @param options.hasSettled a restore was undone just now, which stops parts */
export async function leaveFleet(context: CliContext, deployment: HealthContext, options: WayOptions & { readonly hasSettled: boolean }): Promise<void> {
  const { topology, settings, manager } = deployment;
  // It may be the one that strikes this machine off.
  if (options.hasSettled) await manager.start('redis').catch(ignoreUncontrolled);
  const goodbye: GoodbyeContext = {
    settings,
    view: () => viewFleet(context.host, settings, topology),
    patienceMs: options.isNow ? HASTE_MS : PATIENCE_MS,
    now: context.now,
    signal: context.signal,
  };
  const farewell = await whoStays(context, deployment, options);
  const wasUp = (await manager.status(['livekit'])).some((one) => one.state !== 'stopped');
  try {
    await endLivekit(context, deployment, { parts: ['livekit'], options });
    await manager.stop('livekit').catch(ignoreUncontrolled);
    const waiting = await awaitDelivery({
      port: settings.AGENT_PORT,
      patienceMs: options.isNow ? HASTE_MS : PATIENCE_MS,
      now: context.now,
      signal: context.signal,
    });
    if (waiting > 0) context.reporter.emit({ kind: 'note', code: 'LEFT_WEBHOOKS', params: { count: waiting } });
    await partFrom(context, deployment, { farewell, goodbye });
  } catch (error) {
    const isRefusal = error instanceof FleetError && error.code !== 'INTERRUPTED';
    if (!options.isNow || !isRefusal) {
      if (wasUp) await goOn(deployment, { farewell, goodbye });
      throw error;
    }
    // Asked for: it goes all the same.
    context.reporter.emit({ kind: 'note', code: 'LEFT_UNTOLD', params: { address: topology.address } });
  }
  // Should it come back, the fleet says who is the primary then, not what this machine knew when it left.
  await writeLeft(context.host, settings, { layout: topology.layout, hosts: farewell.staying });
  await removeParts(context, deployment, { last: () => forgetFleet(context, deployment, farewell) });
}

/** Asks who stays, and whether they can do without this machine, before anything is touched. */
async function whoStays(context: CliContext, { settings, topology }: HealthContext, { isNow }: WayOptions): Promise<Farewell> {
  const isStuck = ({ primary, healthyReplicas, registry }: FleetView): boolean =>
    primary.host === topology.address && healthyReplicas === 0 && (registry?.records.length ?? 0) > 1;
  let fleet = await viewFleet(context.host, settings, topology);
  const deadline = context.now() + (isNow ? 0 : REPLICA_MS);
  while (fleet !== null && isStuck(fleet) && context.now() < deadline) {
    context.signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, 500));
    fleet = await viewFleet(context.host, settings, topology);
  }
  const records = fleet?.registry?.records.map((record) => hostOf(record.signalling)) ?? null;
  const staying = (records ?? (await knownHosts(context.host, topology))).filter((one) => one !== topology.address);
  if (staying.length === 0 || isNow) return { fleet, staying };
  if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: staying.join(', '), port: settings.SENTINEL_PORT });
  if (fleet.registry === null) throw new FleetError('NO_PRIMARY', { address: fleet.primary.host });
  if (isStuck(fleet)) throw new FleetError('NO_OTHER_PRIMARY', { address: topology.address, seconds: REPLICA_MS / 1000 });
  return { fleet, staying };
}

/** The part of the departure that the others take part in. */
async function partFrom(
  context: CliContext,
  { topology, manager }: HealthContext,
  { farewell: { fleet, staying }, goodbye }: { farewell: Farewell; goodbye: GoodbyeContext },
): Promise<void> {
  const { machine, address } = topology;
  if (fleet === null && staying.length === 0) return;
  if (staying.length > 0) {
    await takeTurn(machine, goodbye);
    const after = await handOver({ address, staying }, goodbye);
    if (fleet?.primary.host === address) context.reporter.emit({ kind: 'note', code: 'HANDED_OVER', params: { address: after.primary.host } });
  }
  // It would write its record again.
  await manager.stop('agent').catch(ignoreUncontrolled);
  await sayGoodbye({ machine, address }, goodbye);
}

/** Back to where it was before. */
async function goOn({ topology, manager }: HealthContext, { farewell: { fleet }, goodbye }: { farewell: Farewell; goodbye: GoodbyeContext }): Promise<void> {
  // A LiveKit that drains ends only when its people have left.
  for (const part of ['livekit', 'agent'] as const) await manager.beginStart(part);
  if (fleet === null) return;
  await giveTurn(topology.machine, goodbye, fleet);
}

/** Nothing that this machine knew of the fleet is taken up again; what others have of Redis's data is set aside. */
async function forgetFleet({ host }: CliContext, { topology }: HealthContext, { staying }: Farewell): Promise<void> {
  const { state } = topology.layout;
  for (const path of [redisFile(topology), sentinelFile(topology), `${state}/agent/${FLEET_MEMORY}`, ...upstreamFiles(`${state}/agent`, false)])
    await host.remove(path);
  if (staying.length === 0) return;
  await host.remove(`${state}/redis.left`);
  await host.move(redisFolder(topology), `${state}/redis.left`);
}

/** Stops all parts and their supervision, for good. Until the end, the same command can be repeated. */
export async function removeParts(
  { host, reporter }: CliContext,
  { topology, manager }: HealthContext,
  { last = async () => undefined }: { last?: () => Promise<void> } = {},
): Promise<void> {
  await manager.stopAll();
  for (const part of topology.parts.toReversed()) {
    await manager.retire(part);
    reporter.line(`  ■ ${part}`);
  }
  await last();
  await host.remove(appliedFile(topology));
}
