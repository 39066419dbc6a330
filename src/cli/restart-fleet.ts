import { randomUUID } from 'node:crypto';
import type { NodeRecord } from '../contract/node-record.ts';
import { FleetError } from '../kernel/errors.ts';
import type { CliContext } from './context.ts';
import { change } from './control.ts';
import { giveOrder, servingRecord, viewWell } from './fleet-order.ts';
import type { Asker } from './fleet-order.ts';
import type { WayOptions } from './make-way.ts';

/** Its agent looks for orders each second, and gives LiveKit 20 s to start. */
const MARGIN_MS = 40_000;

/**
 * Restarts LiveKit on all media machines, one after the other: each first takes no new rooms and gives its participants DRAIN_TIMEOUT
 * to leave. Ends at the first that does not come back; the others are not touched.
 * @throws FleetError FLEET_UNREACHABLE, NO_PRIMARY, FLEET_NOT_WELL, FLEET_OF_ONE, RESTART_STOPPED
 */
export async function restartFleet(context: CliContext, part: string | undefined, { isNow }: WayOptions): Promise<void> {
  if (part !== undefined && part !== 'livekit') throw new FleetError('UNKNOWN_PART', { part, known: 'livekit' }, { exitCode: 2 });
  await change(context, 'restart', async (deployment) => {
    const { records } = (await viewWell(context, deployment, './部署.sh restart livekit')).registry;
    const deadlineMs = isNow ? 0 : deployment.settings.DRAIN_TIMEOUT * 1000;
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

async function restartOne(context: CliContext, asker: Asker, { record, deadlineMs }: { record: NodeRecord; deadlineMs: number }): Promise<void> {
  const { machine } = record;
  const report = await giveOrder(context, asker, {
    machine,
    order: { id: randomUUID(), nodeId: record.nodeId ?? '', deadlineMs },
    patienceMs: deadlineMs + MARGIN_MS,
    onReport({ state, participants, secondsLeft }) {
      if (state === 'draining') context.reporter.emit({ kind: 'step-progress', id: machine, detail: `${participants} participant(s), ${secondsLeft} s` });
    },
    async isOver() {
      const now = await servingRecord(context, asker, machine);
      return now !== null && now.nodeId !== record.nodeId;
    },
  });
  if (report?.state !== 'done') throw new FleetError('RESTART_STOPPED', { machine, state: report?.state ?? '-' });
}
