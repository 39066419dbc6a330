import { completeSwap, partsToUndo, undoSwap, unfinishedSwap } from '../backup/swap.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { CliContext } from './context.ts';
import { openManager } from './prepare.ts';

/**
 * Ends what a restore that was killed has left: what it had begun to swap is put back, what was complete stays. Every command that
 * changes what runs begins with it, under the lock. The parts that use what is put back are stopped then.
 */
export async function settleRestore(context: CliContext, settings: Settings, topology: Topology): Promise<'undone' | 'completed' | null> {
  const { host, reporter } = context;
  const phase = await unfinishedSwap(host, topology.layout);
  if (phase === null) return null;
  if (phase === 'done') {
    await completeSwap(host, topology.layout);
    reporter.say('RESTORE_FINISHED');
    return 'completed';
  }
  await undoRestore(context, await openManager(context, settings, topology), topology);
  return 'undone';
}

/** Stops the parts that use what was swapped, and puts back what stood before. */
export async function undoRestore({ host, reporter }: CliContext, manager: ServiceManager, { layout, parts }: Topology): Promise<void> {
  const used = (await partsToUndo(host, layout)) ?? [];
  for (const part of used.toReversed()) if (parts.includes(part)) await stopAnyway(manager, part);
  await undoSwap(host, layout);
  reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE' });
}

/** Stops a part; one that nobody supervises does not run. */
export async function stopAnyway(manager: ServiceManager, part: Part): Promise<void> {
  await manager.stop(part).catch((error: unknown) => {
    if (!(error instanceof FleetError && error.code === 'PART_NOT_CONTROLLED')) throw error;
  });
}
