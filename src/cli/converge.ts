import { applyPlan } from '../apply/apply.ts';
import { observe } from '../apply/observe.ts';
import { checkPorts } from '../apply/ports.ts';
import { findUser, makeUser } from '../host/service-user.ts';
import { makePlan, startingOf } from '../plan/plan.ts';
import type { Change } from '../plan/plan.ts';
import type { Settings } from '../settings/schema.ts';
import { madeUserFile, strayPems } from '../topology/topology.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { makeWay } from './make-way.ts';
import type { WayOptions } from './make-way.ts';
import type { Prepared } from './prepare.ts';

/** What was changed, and when (epoch ms) that began. */
export interface Converged {
  readonly changes: readonly Change[];
  readonly began: number;
}

/**
 * Makes of this machine what is desired: plans, gives the people in LiveKit's rooms time where it has to end, and applies.
 * @throws FleetError PORT_TAKEN, NOT_SURE, DECLINED, and those of applyPlan, after which what stood before stands again
 */
export async function converge(
  context: CliContext,
  settings: Settings,
  { topology, prepared, sure, onWell }: { topology: Topology; prepared: Prepared; sure: WayOptions; onWell?: (part: Part) => void },
): Promise<Converged> {
  const { host, reporter, now, signal } = context;
  const { desired, manager } = prepared;
  const [observed, known] = await Promise.all([observe(host, desired, { topology, manager }), findUser(host, settings.SERVICE_USER)]);
  const changes = makePlan(desired, observed);
  await checkPorts(host, settings, { topology, manager, starting: startingOf(changes), signal });
  const endsLivekit = changes.some((change) => 'part' in change && change.part === 'livekit' && change.kind !== 'start');
  const way = endsLivekit ? await makeWay(context, settings, topology, sure) : { deadlineMs: null, fleet: null };
  const began = Date.now();
  const user = known ?? (await makeUser(host, settings.SERVICE_USER, madeUserFile(topology.layout)));
  await applyPlan(desired, changes, {
    host,
    settings,
    topology,
    manager,
    user,
    emit: reporter.emit,
    now,
    signal,
    way,
    ...(onWell === undefined ? {} : { onWell }),
  });
  for (const path of strayPems(topology)) await host.remove(path);
  return { changes, began };
}
