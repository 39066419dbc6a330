import { setTimeout as sleep } from 'node:timers/promises';
import * as z from 'zod';
import { viewFleet } from '../apply/ask-fleet.ts';
import { sendCommands } from '../clients/sentinel.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { hostOf, isReachable } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { ORDERS_KEY, REPORTS_KEY, parseReport } from '../contract/orders.ts';
import type { Order, OrderReport } from '../contract/orders.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** A machine from which the fleet is asked. */
export interface Asker {
  readonly settings: Settings;
  readonly topology: Topology;
}

/** A fleet whose primary answers. */
export type ReadableFleet = FleetView & { readonly registry: NonNullable<FleetView['registry']> };

const POLL_MS = 500;
/** An agent looks for orders each second; a primary may be replaced first. */
const FIRST_WORD_MS = 30_000;

/**
 * A fleet in which each machine can take the others' participants, the machine with the primary last in its records.
 * @param command what the only media machine would be asked itself
 * @throws FleetError FLEET_UNREACHABLE, NO_PRIMARY, FLEET_NOT_WELL, FLEET_OF_ONE
 */
export async function viewWell(context: CliContext, { settings, topology }: Asker, command: string): Promise<ReadableFleet> {
  const fleet = await viewFleet(context.host, settings, topology);
  if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: topology.redisHosts.join(', '), port: settings.SENTINEL_PORT });
  const registry = checkWell(fleet);
  if (registry.records.length < 2) throw new FleetError('FLEET_OF_ONE', { command }, { exitCode: 2 });
  const isLast = (record: NodeRecord): number => Number(hostOf(record.signalling) === fleet.primary.host);
  return { ...fleet, registry: { ...registry, records: registry.records.toSorted((a, b) => isLast(a) - isLast(b)) } };
}

/** Makes sure that all media machines serve, `self` excepted. @throws FleetError NO_PRIMARY, FLEET_NOT_WELL */
export function checkWell({ registry, primary }: FleetView, self: string | null = null): NonNullable<FleetView['registry']> {
  if (registry === null) throw new FleetError('NO_PRIMARY', { address: primary.host });
  const isIll = (one: NodeRecord): boolean => one.state !== 'serving' || one.nodeId === null || !isReachable(one, registry.nowMs);
  const ill = registry.records.filter((one) => one.machine !== self && isIll(one));
  if (ill.length > 0) throw new FleetError('FLEET_NOT_WELL', { machines: ill.map((one) => `${one.machine} (${one.state})`).join(', ') });
  return registry;
}

/**
 * Has a machine's agent carry out an order, and follows it; after Ctrl-C what has begun goes on there, what has not will not begin.
 * @param options.patienceMs how long it is followed
 * @param options.isOver whether what is reported as done shows in the fleet
 * @returns the last report, which is `done` only once it is over; null where the agent said nothing
 * @throws the signal's reason; FleetError NO_PRIMARY, REDIS_REFUSED where the order could not be given
 */
export async function giveOrder(
  context: CliContext,
  asker: Asker,
  options: {
    machine: string;
    order: Order;
    patienceMs: number;
    onReport: (report: OrderReport) => void;
    isOver: () => Promise<boolean>;
  },
): Promise<OrderReport | null> {
  const { machine, order, patienceMs, onReport, isOver } = options;
  await tell(context, asker, ['HSET', ORDERS_KEY, machine, JSON.stringify(order)]);
  let report: OrderReport | null = null;
  try {
    const beganMs = context.now();
    for (const deadline = beganMs + patienceMs; context.now() < deadline; await sleep(POLL_MS)) {
      if (report === null && context.now() - beganMs >= FIRST_WORD_MS) return null;
      context.signal.throwIfAborted();
      const found = await tell(context, asker, ['HGET', REPORTS_KEY, machine]).catch(ignoreOutage);
      const said = typeof found === 'string' ? parseReport(found) : null;
      if (said?.id === order.id) report = said;
      if (report !== null) onReport(report);
      if (report?.state === 'failed') return report;
      if (report?.state === 'done' && (await isOver())) return report;
    }
    return report?.state === 'done' ? { ...report, state: 'starting' } : report;
  } finally {
    await tell(context, asker, ['HDEL', ORDERS_KEY, machine]).catch(ignoreOutage);
  }
}

/** Redis TIME, in milliseconds since 1970. @throws FleetError REDIS_REFUSED, NO_PRIMARY */
export async function fleetTimeMs(context: CliContext, asker: Asker): Promise<number> {
  const [seconds, microseconds] = z.tuple([z.coerce.number(), z.coerce.number()]).parse(await tell(context, asker, ['TIME']));
  return seconds * 1_000 + microseconds / 1_000;
}

/** The record of a machine that serves; null while it does not. */
export async function servingRecord(context: CliContext, { settings, topology }: Asker, machine: string): Promise<NodeRecord | null> {
  const registry = (await viewFleet(context.host, settings, topology))?.registry ?? null;
  const now = registry?.records.find((one) => one.machine === machine);
  return registry !== null && now?.state === 'serving' && now.nodeId !== null && isReachable(now, registry.nowMs) ? now : null;
}

/** Sends a command to the primary of this moment. @throws FleetError REDIS_REFUSED, NO_PRIMARY */
async function tell(context: CliContext, { settings, topology }: Asker, command: readonly [string, ...string[]]): Promise<unknown> {
  const fleet = await viewFleet(context.host, settings, topology);
  if (fleet === null) throw new FleetError('NO_PRIMARY', { address: topology.redisHosts.join(', ') });
  const [reply] = await sendCommands({ ...fleet.primary, password: settings.REDIS_PASSWORD }, [command]);
  return reply;
}

/** While the primary is being replaced there is no news. */
function ignoreOutage(error: unknown): null {
  if (error instanceof FleetError && (error.code === 'REDIS_REFUSED' || error.code === 'NO_PRIMARY')) return null;
  throw error;
}
