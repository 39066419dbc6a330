import { viewFleet } from '../apply/ask-fleet.ts';
import { openExchange } from '../backup/exchange.ts';
import type { Exchange } from '../backup/exchange.ts';
import { completeSwap, undoSwap, unfinishedSwap } from '../backup/swap.ts';
import { stagingFolder } from '../topology/restore-files.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { openManager } from './prepare.ts';
import { undoDatabaseRestore } from './restore-database.ts';

// What a deploy loads only where there is something to settle.
export { awaitNode } from '../apply/await-node.ts';

/** The machine that is restored. */
interface Machine {
  readonly settings: Settings;
  readonly topology: Topology;
}

/** And the exchange of data in its fleet's Redis that belongs to that. */
export interface ExchangingMachine extends Machine {
  readonly exchangeId: string;
}

/**
 * Ends what a restore that was killed has left: what it had begun to swap is put back, what was complete stays. Every command that
 * changes what runs begins with it, under the lock. The parts that use what is put back are stopped then.
 * @throws FleetError FLEET_UNREACHABLE, REDIS_REFUSED, DATABASE_UNREACHABLE where the fleet's Redis or PostgreSQL has to put something back too
 */
export async function settleRestore(context: CliContext, settings: Settings, topology: Topology): Promise<'undone' | 'completed' | null> {
  const { host, reporter } = context;
  const { layout } = topology;
  const found = await unfinishedSwap(host, layout);
  if (found?.phase === 'swapping') {
    await undoRestore(context, { settings, topology }, await openManager(context, settings, topology));
    return 'undone';
  }
  const besideId = found === null ? null : await letGo(context, { settings, topology, exchangeId: found.exchangeId });
  if (found?.phase === 'done') {
    await completeSwap(host, layout, besideId);
    reporter.say('RESTORE_FINISHED');
    return 'completed';
  }
  // What was being put together when it ended, nothing of which was in use.
  if (besideId === null) await host.remove(stagingFolder(layout));
  return null;
}

/** Lets go of what the fleet's Redis has beside its data. Gives the exchange's id where that cannot be asked: it hurts nobody, and the next command tries again. */
export async function letGo(context: CliContext, { exchangeId, ...machine }: Machine & { exchangeId: string | null }): Promise<string | null> {
  if (exchangeId === null) return null;
  try {
    await withExchange(context, { ...machine, exchangeId }, (exchange) => exchange.end());
    return null;
  } catch (error) {
    if (error instanceof FleetError && (error.code === 'FLEET_UNREACHABLE' || error.code === 'REDIS_REFUSED')) return exchangeId;
    throw error;
  }
}

/** Stops the parts that use what was swapped, and puts back what stood before. */
export async function undoRestore(context: CliContext, { settings, topology }: Machine, manager: ServiceManager): Promise<void> {
  const { host, reporter } = context;
  const { layout, parts } = topology;
  const { parts: used = [], exchangeId = null, database = null } = (await unfinishedSwap(host, layout)) ?? {};
  if (exchangeId !== null) await withExchange(context, { settings, topology, exchangeId }, (exchange) => exchange.undo());
  for (const part of used.toReversed()) if (parts.includes(part)) await stopAnyway(manager, part);
  if (database !== null) await undoDatabaseRestore(context, settings, database);
  await undoSwap(host, layout);
  reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE' });
}

/** Works with the Redis that Sentinel names as the fleet's primary. @throws FleetError FLEET_UNREACHABLE, REDIS_REFUSED */
export async function withExchange<T>(
  { host }: CliContext,
  { settings, topology, exchangeId }: ExchangingMachine,
  work: (exchange: Exchange, replicas: number) => Promise<T>,
): Promise<T> {
  const fleet = await viewFleet(host, settings, topology);
  if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: topology.redisHosts.join(', '), port: settings.SENTINEL_PORT });
  const exchange = await openExchange({ ...fleet.primary, password: settings.REDIS_PASSWORD }, { id: exchangeId, machine: topology.machine });
  try {
    return await work(exchange, fleet.healthyReplicas);
  } finally {
    exchange.close();
  }
}

/** Stops a part; one that nobody supervises does not run. */
export async function stopAnyway(manager: ServiceManager, part: Part): Promise<void> {
  await manager.stop(part).catch((error: unknown) => {
    if (!(error instanceof FleetError && error.code === 'PART_NOT_CONTROLLED')) throw error;
  });
}
