import { undoneFolder, unfinishedSwap } from '../backup/swap.ts';
import { holderOf } from '../host/lock.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** What restores have left on a machine. */
export interface RestoreState {
  /** One was broken off, and nobody is at it: the next command that changes what runs undoes it. */
  readonly isUnfinished: boolean;
  /** Folders with what restores that were undone had put in use. */
  readonly undone: readonly string[];
}

/** Says what restores have left, for whoever asks how the machine is. */
export async function sayRestoreState({ host, reporter }: CliContext, { layout }: Topology): Promise<RestoreState> {
  const isSwapping = (await unfinishedSwap(host, layout))?.phase === 'swapping';
  const isUnfinished = isSwapping && (await holderOf(layout.lock)) === null;
  const path = undoneFolder(layout);
  const names = (await host.list(path)).toSorted();
  if (isUnfinished) reporter.say('RESTORE_UNSETTLED', { path });
  else if (isSwapping) reporter.say('RESTORE_GOES_ON');
  if (names.length > 0) reporter.say('RESTORE_UNDONE_THERE', { path, names: names.join(', ') });
  return { isUnfinished, undone: names.map((name) => `${path}/${name}`) };
}
