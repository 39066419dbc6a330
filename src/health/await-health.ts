import { FleetError } from '../kernel/errors.ts';
import type { PartStatus, ServiceManager } from '../supervisor/service-manager.ts';
import type { Part } from '../topology/topology.ts';
import { probeAll } from './probe.ts';
import type { Health, ProbeContext } from './probe.ts';

/** Parts that do not listen yet cost one look at the kernel's table, 0.2 ms; more often would only take the CPU from those that are starting. */
const POLL_MS = 10;
/** The last ones have the CPU to themselves, and are waited for. */
const [FEW, FEW_POLL_MS] = [2, 4];
/** For so long an answer is believed of a part that goes on listening: to ask all of them anew would keep everybody waiting, for 10 ms. */
const HEARD_MS = 1_000;
/** Those of the supervisor itself stand between the part's own. */
const LOG_LINES = 20;

/** What is asked of a machine's parts, and by what. */
export interface HealthContext extends ProbeContext {
  readonly manager: ServiceManager;
}

/** A part as its supervisor sees it, and whether it answers as it should. A part that is not running is never well. */
export type PartHealth = PartStatus & { readonly health: Health };

/** State and health of these parts, in their order. @param heard see probeAll */
export async function checkParts(context: HealthContext, parts: readonly Part[], heard?: ReadonlySet<Part>): Promise<PartHealth[]> {
  const [states, healths] = await Promise.all([context.manager.status(parts), probeAll(context, parts, heard)]);
  return states.flatMap((state) => {
    const health = healths.find((one) => one.part === state.part);
    if (health === undefined) return [];
    return [{ ...state, health: state.state === 'running' ? health : { part: state.part, ok: false, detail: health.ok ? state.state : health.detail } }];
  });
}

/**
 * Polls until all parts are well.
 * @param options.parts those that must be well; all of the machine by default
 * @param options.onWell hears of each part when it is first found well
 * @throws FleetError NOT_HEALTHY after HEALTH_TIMEOUT with the first sick part's last log lines; the signal's reason
 */
export async function awaitHealth(
  options: HealthContext & { parts?: readonly Part[]; onWell?: (part: Part) => void; now: () => number; signal: AbortSignal },
): Promise<void> {
  const { settings, topology, manager, parts = topology.parts, now, signal } = options;
  const seconds = settings.HEALTH_TIMEOUT;
  const well = new Set<Part>();
  /** When each part that is well has last answered. */
  const heardMs = new Map<Part, number>();
  const deadline = now() + seconds * 1000;
  for (let isLast = false; ;) {
    const heard = new Set(parts.filter((part) => isLast || now() - (heardMs.get(part) ?? -Infinity) < HEARD_MS));
    // What the supervisor says is asked last: that would take the CPU from those that start.
    const asked: readonly Health[] = isLast ? (await checkParts(options, parts, heard)).map((one) => one.health) : await probeAll(options, parts, heard);
    const sick = asked.filter((one) => !isUp(one));
    for (const { part } of sick) heardMs.delete(part);
    for (const { part } of asked.filter(isUp)) {
      if (!well.has(part)) options.onWell?.(part);
      well.add(part);
      if (!heard.has(part)) heardMs.set(part, now());
    }
    const [first] = sick;
    if (first === undefined && isLast) return;
    isLast = first === undefined;
    if (first === undefined) continue;
    signal.throwIfAborted();
    if (now() > deadline) {
      const log = await manager.tailLog(first.part, LOG_LINES);
      throw new FleetError('NOT_HEALTHY', { seconds, parts: sick.map((one) => `${one.part} (${one.detail})`).join(', '), log });
    }
    await new Promise((resolve) => setTimeout(resolve, sick.length > FEW ? POLL_MS : FEW_POLL_MS));
  }
}

/** What a start waits for: that what the part last did has failed is not mended by waiting. */
function isUp(health: Health): boolean {
  return health.ok || health.isUp === true;
}
