import { randomUUID } from 'node:crypto';
import { viewFleet } from '../apply/ask-fleet.ts';
import { sendCommands } from '../clients/sentinel.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { hostOf, isReachable } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { ORDERS_KEY, REPORTS_KEY, parseReport } from '../contract/orders.ts';
import type { OrderReport } from '../contract/orders.ts';
import type { HealthContext } from '../health/await-health.ts';
import { FleetError } from '../kernel/errors.ts';
import type { CliContext } from './context.ts';
import { change } from './control.ts';
import type { WayOptions } from './make-way.ts';

/** Its agent looks for orders each second, and gives LiveKit 20 s to start. */
const MARGIN_MS = 40_000;
const POLL_MS = 500;

/**
 * Restarts LiveKit on all media machines, one after the other: each first takes no new rooms and gives its participants DRAIN_TIMEOUT
 * to leave. Ends at the first that does not come back; the others are not touched.
 * @throws FleetError FLEET_UNREACHABLE, NO_PRIMARY, FLEET_NOT_WELL, FLEET_OF_ONE, RESTART_STOPPED
 */
export async function restartFleet(context: CliContext, part: string | undefined, { isNow }: WayOptions): Promise<void> {
  if (part !== undefined && part !== 'livekit') throw new FleetError('UNKNOWN_PART', { part, known: 'livekit' }, { exitCode: 2 });
  await change(context, 'restart', async (deployment) => {
    const { settings } = deployment;
    const fleet = await viewWell(context, deployment);
    // The one with the primary last: nothing else changes meanwhile.
    const isLast = (record: NodeRecord): number => Number(hostOf(record.signalling) === fleet.primary.host);
    const records = fleet.registry.records.toSorted((a, b) => isLast(a) - isLast(b));
    const deadlineMs = isNow ? 0 : settings.DRAIN_TIMEOUT * 1000;
    const done: string[] = [];
    for (const record of records) {
      const began = context.now();
      await restartOne(context, deployment, { record, deadlineMs });
      context.reporter.emit({ kind: 'step-finished', id: record.machine, ms: context.now() - began, detail: 'livekit' });
      done.push(record.machine);
    }
    context.reporter.say('FLEET_RESTARTED', { count: done.length });
    context.reporter.result({ restarted: done });
  });
}

/** A fleet in which each machine can take the others' participants. */
async function viewWell(context: CliContext, { settings, topology }: HealthContext): Promise<FleetView & { registry: NonNullable<FleetView['registry']> }> {
  const fleet = await viewFleet(context.host, settings, topology);
  if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: topology.redisHosts.join(', '), port: settings.SENTINEL_PORT });
  const registry = checkWell(fleet);
  if (registry.records.length < 2) throw new FleetError('FLEET_OF_ONE', {}, { exitCode: 2 });
  return { ...fleet, registry };
}

/** Makes sure that all media machines serve, `self` excepted. @throws FleetError NO_PRIMARY, FLEET_NOT_WELL */
export function checkWell({ registry, primary }: FleetView, self: string | null = null): NonNullable<FleetView['registry']> {
  if (registry === null) throw new FleetError('NO_PRIMARY', { address: primary.host });
  const isIll = (one: NodeRecord): boolean => one.state !== 'serving' || one.nodeId === null || !isReachable(one, registry.nowMs);
  const ill = registry.records.filter((one) => one.machine !== self && isIll(one));
  if (ill.length > 0) throw new FleetError('FLEET_NOT_WELL', { machines: ill.map((one) => `${one.machine} (${one.state})`).join(', ') });
  return registry;
}

async function restartOne(context: CliContext, deployment: HealthContext, { record, deadlineMs }: { record: NodeRecord; deadlineMs: number }): Promise<void> {
  const { machine } = record;
  const order = { id: randomUUID(), nodeId: record.nodeId ?? '', deadlineMs };
  await tell(context, deployment, ['HSET', ORDERS_KEY, machine, JSON.stringify(order)]);
  let report: OrderReport | null = null;
  try {
    for (const deadline = context.now() + deadlineMs + MARGIN_MS; context.now() < deadline;) {
      context.signal.throwIfAborted();
      const found = await tell(context, deployment, ['HGET', REPORTS_KEY, machine]).catch(ignoreOutage);
      const said = typeof found === 'string' ? parseReport(found) : null;
      if (said?.id === order.id) report = said;
      if (report?.state === 'draining')
        context.reporter.emit({ kind: 'step-progress', id: machine, detail: `${report.participants} participant(s), ${report.secondsLeft} s` });
      if (report?.state === 'failed') break;
      if (report?.state === 'done' && (await isBack(context, deployment, record))) return;
      await new Promise((resolve) => setTimeout(resolve, POLL_MS));
    }
    throw new FleetError('RESTART_STOPPED', { machine, state: report?.state ?? '-' });
  } finally {
    // Also after Ctrl-C: what has begun goes on there, what has not will not begin.
    await tell(context, deployment, ['HDEL', ORDERS_KEY, machine]).catch(ignoreOutage);
  }
}

/** True once the machine's record says that another LiveKit serves. */
async function isBack(context: CliContext, { settings, topology }: HealthContext, former: NodeRecord): Promise<boolean> {
  const registry = (await viewFleet(context.host, settings, topology))?.registry ?? null;
  const now = registry?.records.find((one) => one.machine === former.machine);
  return registry !== null && now?.state === 'serving' && now.nodeId !== null && now.nodeId !== former.nodeId && isReachable(now, registry.nowMs);
}

/** Sends a command to the primary of this moment. @throws FleetError REDIS_REFUSED, NO_PRIMARY */
async function tell(context: CliContext, { settings, topology }: HealthContext, command: readonly [string, ...string[]]): Promise<unknown> {
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
