import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { probeAll } from './probe.ts';

/** Loopback answers within milliseconds; asking more often would only take the CPU from the parts that are starting. */
const POLL_MS = 50;

/**
 * Polls until all parts are well.
 * @param options.parts those that must be well; all of the machine by default
 * @throws FleetError NOT_HEALTHY after HEALTH_TIMEOUT with the first sick part's last log lines; the signal's reason
 */
export async function awaitHealth(options: {
  settings: Settings;
  topology: Topology;
  manager: ServiceManager;
  parts?: readonly Part[];
  now: () => number;
  signal: AbortSignal;
}): Promise<void> {
  const { settings, topology, manager, parts = topology.parts, now, signal } = options;
  const seconds = settings.HEALTH_TIMEOUT;
  let waiting: readonly Part[] = parts;
  const deadline = now() + seconds * 1000;
  for (;;) {
    const sick = (await probeAll(settings, waiting)).filter((one) => !one.ok);
    // Those that are well are asked again only at the end: that would take the CPU from those that start.
    const isLast = waiting.length === parts.length;
    waiting = sick.length === 0 ? parts : sick.map((one) => one.part);
    const [first] = sick;
    if (first === undefined && isLast) return;
    if (first === undefined) continue;
    signal.throwIfAborted();
    if (now() > deadline) {
      const log = await manager.tailLog(first.part, 8);
      throw new FleetError('NOT_HEALTHY', { seconds, parts: sick.map((one) => `${one.part} (${one.detail})`).join(', '), log });
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
