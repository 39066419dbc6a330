import { viewFleet } from '../apply/ask-fleet.ts';
import { openExchange } from '../backup/exchange.ts';
import type { Exchange } from '../backup/exchange.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** The machine that is restored. */
export interface Machine {
  readonly settings: Settings;
  readonly topology: Topology;
}

/** And the exchange of data in its fleet's Redis that belongs to that. */
export interface ExchangingMachine extends Machine {
  readonly exchangeId: string;
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
