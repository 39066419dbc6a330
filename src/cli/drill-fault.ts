import { randomUUID } from 'node:crypto';
import { setTimeout as sleep } from 'node:timers/promises';
import { sendCommands } from '../clients/sentinel.ts';
import { knock } from '../clients/knock.ts';
import { drillFaults } from '../contract/drill.ts';
import type { DrillFault, DrillName } from '../contract/drill.ts';
import { hostOf } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { FAULT_DELAY_MS, ORDERS_KEY, REPORTS_KEY, parseReport } from '../contract/orders.ts';
import type { HealthContext } from '../health/await-health.ts';
import { probeAll } from '../health/probe.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** A fault and its place. */
export interface PlacedFault {
  readonly name: DrillName;
  readonly fault: DrillFault;
  /** The machine that it meets. */
  readonly machine: string;
  /** Where that one is reached. */
  readonly host: string;
  /** The machine in a room of which the clients meet. */
  readonly meeting: string;
}

/** When a fault was held, in milliseconds since 1970: not before the one, not after the other. */
export interface Held {
  readonly earliestMs: number;
  readonly latestMs: number;
}

const POLL_MS = 50;
/** An agent looks for orders each second, and may have to find a new primary first. */
const ORDER_MS = 10_000;

/**
 * Chooses a fault's machines.
 * @param options.machine the media machine that a fault of one is to meet; undefined: any
 * @throws FleetError DRILL_NEEDS_TWO, DRILL_NOT_HERE, DRILL_NO_PART, UNKNOWN_MACHINE, exit code 2
 */
export function placeFault(
  name: DrillName,
  fleet: { readonly records: readonly NodeRecord[]; readonly primary: string },
  { topology, machine }: { topology: Topology; machine: string | undefined },
): PlacedFault {
  const fault: DrillFault = drillFaults[name];
  const { records } = fleet;
  const isPrimary = (record: NodeRecord): boolean => hostOf(record.signalling) === fleet.primary;
  const isCut = 'cutSeconds' in fault.how;
  if (isCut && records.length < 2) throw new FleetError('DRILL_NEEDS_TWO', { fault: name }, { exitCode: 2 });
  const named = machine === undefined ? null : records.find((one) => one.machine === machine || hostOf(one.signalling) === machine);
  if (named === undefined)
    throw new FleetError('UNKNOWN_MACHINE', { machine: machine ?? '', known: records.map((one) => one.machine).join(', ') }, { exitCode: 2 });
  const primary = records.find(isPrimary);
  // Other machines first: their faults are the ones that machine 1 has to see.
  const away = records.filter((one) => !isPrimary(one)).toSorted((a, b) => Number(a.machine === topology.machine) - Number(b.machine === topology.machine));
  const media = named ?? away[0] ?? records[0];
  const meeting = fault.meeting === 'primary' ? primary : media;
  const met = fault.at === 'primary' ? primary : media;
  if (meeting === undefined || met === undefined) throw new FleetError('NO_PRIMARY', { address: fleet.primary });
  if (fault.at === 'gateway' && 'kill' in fault.how && !topology.parts.includes(fault.how.kill))
    throw new FleetError('DRILL_NO_PART', { part: fault.how.kill, fault: name }, { exitCode: 2 });
  if (fault.at === 'gateway') return { name, fault, machine: topology.machine, host: '127.0.0.1', meeting: meeting.machine };
  // The clients are here, and so is the way to all others.
  if (isCut && met.machine === topology.machine) throw new FleetError('DRILL_NOT_HERE', { fault: name, machine: met.machine }, { exitCode: 2 });
  return { name, fault, machine: met.machine, host: hostOf(met.signalling), meeting: meeting.machine };
}

/**
 * Holds a fault, here or through its machine's agent.
 * @param primary the Redis primary of this moment
 * @throws FleetError DRILL_NOT_HELD, REDIS_REFUSED; the signal's reason
 */
export async function holdFault(
  context: CliContext,
  { settings, topology, manager }: HealthContext,
  { placed, primary }: { placed: PlacedFault; primary: { host: string; port: number } },
): Promise<Held> {
  const { machine, fault, name } = placed;
  if (machine === topology.machine && 'kill' in fault.how) {
    const earliestMs = Date.now();
    await manager.kill(fault.how.kill);
    return { earliestMs, latestMs: Date.now() };
  }
  const say = async (command: readonly [string, ...string[]]): Promise<unknown> =>
    (await sendCommands({ ...primary, password: settings.REDIS_PASSWORD }, [command]))[0];
  const time = await say(['TIME']);
  const nowMs = Array.isArray(time) ? Number(time[0]) * 1_000 : 0;
  const order = { id: randomUUID(), untilMs: nowMs + ORDER_MS, fault: fault.how };
  await say(['HSET', ORDERS_KEY, machine, JSON.stringify(order)]);
  try {
    let earlierMs = Date.now();
    for (const deadline = context.now() + ORDER_MS; context.now() < deadline; await sleep(POLL_MS)) {
      context.signal.throwIfAborted();
      const askedMs = Date.now();
      const found = await say(['HGET', REPORTS_KEY, machine]);
      const report = typeof found === 'string' ? parseReport(found) : null;
      if (report?.id === order.id && report.state === 'done') return { earliestMs: earlierMs + FAULT_DELAY_MS, latestMs: Date.now() + FAULT_DELAY_MS };
      if (report?.id === order.id) break;
      earlierMs = askedMs;
    }
    throw new FleetError('DRILL_NOT_HELD', { fault: name, machine });
  } finally {
    // Well before the fault, or it is not held any more.
    await say(['HDEL', ORDERS_KEY, machine]);
  }
}

/** Asks again and again whether what ended, or the machine's agent, answers, until the signal aborts. Throws nothing. */
export async function watchAnswers(
  deployment: HealthContext,
  { machine, host, fault: { how } }: PlacedFault,
  { signal, onAnswer }: { signal: AbortSignal; onAnswer: (answer: { atMs: number; ok: boolean }) => void },
): Promise<void> {
  const { settings, topology } = deployment;
  const isAnswering = async (): Promise<boolean> => {
    if (machine === topology.machine && 'kill' in how) return (await probeAll(deployment, [how.kill])).every((one) => one.ok);
    return (await knock({ host, port: settings.AGENT_PORT, password: settings.REDIS_PASSWORD })) === 'welcome';
  };
  while (!signal.aborted) {
    onAnswer({ ok: await isAnswering(), atMs: Date.now() });
    await sleep(POLL_MS);
  }
}
