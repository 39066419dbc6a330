import { viewFleet } from '../apply/ask-fleet.ts';
import { openExchange } from '../backup/exchange.ts';
import type { Exchange } from '../backup/exchange.ts';
import { completeSwap, undoSwap, unfinishedSwap } from '../backup/swap.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { openManager } from './prepare.ts';
import { undoDatabaseRestore } from './restore-database.ts';

/** The machine that is restored. */
interface Machine {
  readonly settings: Settings;
  readonly topology: Topology;
}

/**
 * Ends what a restore that was killed has left: what it had begun to swap is put back, what was complete stays. Every command that
 * changes what runs begins with it, under the lock. The parts that use what is put back are stopped then.
 * @throws FleetError NO_PRIMARY, FLEET_UNREACHABLE, DATABASE_UNREACHABLE where the fleet's Redis or PostgreSQL has to put something back too
 */
export async function settleRestore(context: CliContext, settings: Settings, topology: Topology): Promise<'undone' | 'completed' | null> {
  const { host, reporter } = context;
  const found = await unfinishedSwap(host, topology.layout);
  if (found === null) return null;
  if (found.phase === 'swapping') {
    await undoRestore(context, { settings, topology }, await openManager(context, settings, topology));
    return 'undone';
  }
  if (found.exchangeId !== null) await withExchange(context, { settings, topology }, (exchange) => exchange.end());
  await completeSwap(host, topology.layout);
  reporter.say('RESTORE_FINISHED');
  return 'completed';
}

/** Stops the parts that use what was swapped, and puts back what stood before. */
export async function undoRestore(context: CliContext, { settings, topology }: Machine, manager: ServiceManager): Promise<void> {
  const { host, reporter } = context;
  const { layout, parts } = topology;
  const { parts: used = [], exchangeId = null, database = null } = (await unfinishedSwap(host, layout)) ?? {};
  if (exchangeId !== null) await withExchange(context, { settings, topology }, (exchange) => exchange.undo(exchangeId));
  for (const part of used.toReversed()) if (parts.includes(part)) await stopAnyway(manager, part);
  if (database !== null) await undoDatabaseRestore(context, settings, database);
  await undoSwap(host, layout);
  reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE' });
}

/** Works with the Redis that Sentinel names as the fleet's primary. @throws FleetError FLEET_UNREACHABLE, REDIS_REFUSED */
export async function withExchange<T>(
  { host }: CliContext,
  { settings, topology }: Machine,
  work: (exchange: Exchange, replicas: number) => Promise<T>,
): Promise<T> {
  const fleet = await viewFleet(host, settings, topology);
  if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: topology.redisHosts.join(', '), port: settings.SENTINEL_PORT });
  const exchange = await openExchange({ ...fleet.primary, password: settings.REDIS_PASSWORD });
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
