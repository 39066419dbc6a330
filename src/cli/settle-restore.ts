import { completeSwap, unfinishedSwap } from '../backup/swap.ts';
import { stagingFolder } from '../topology/restore-files.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { openManager } from './prepare.ts';
import { undoRestore } from './undo-restore.ts';
import { letGo } from './with-exchange.ts';

// What a deploy loads only where there is something to settle.
export { awaitWell } from './await-well.ts';

/**
 * Ends what a restore that was killed has left: what it had begun to swap is put back, what was complete stays. Every command that
 * changes what runs begins with it, under the lock. The parts that use what is put back are stopped then.
 * @param machine.isGivenUp a person has said that a PostgreSQL or a fleet that cannot be reached for that is gone for good
 * @throws FleetError RESTORE_UNDO_FAILED
 */
export async function settleRestore(
  context: CliContext,
  { settings, topology, isGivenUp = false }: { settings: Settings; topology: Topology; isGivenUp?: boolean },
): Promise<'undone' | 'completed' | null> {
  const { host, reporter } = context;
  const { layout } = topology;
  const found = await unfinishedSwap(host, layout);
  if (found?.phase === 'swapping') {
    // The machine may have run for days with what is undone now.
    await undoRestore(context, { settings, topology }, { manager: await openManager(context, settings, topology), isKept: true, first: null, isGivenUp });
    return 'undone';
  }
  const besideId = found === null ? null : await letGo(context, { settings, topology, exchangeId: found.exchangeId });
  if (found?.phase === 'done') {
    await completeSwap(host, layout, besideId);
    reporter.say('RESTORE_FINISHED');
    return 'completed';
  }
  // What was being put together when it ended, nothing of which was in use.
  if (besideId === null) await host.remove(stagingFolder(layout));
  return null;
}
