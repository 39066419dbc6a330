import { spawnSync } from 'node:child_process';
import { createInterface } from 'node:readline/promises';
import { readOccupancy } from '../apply/drain.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { FleetError } from '../kernel/errors.ts';
import type { TextCode } from '../kernel/messages/en.ts';
import { translate } from '../kernel/messages/translate.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** Options of every command that may end LiveKit. */
export interface WayOptions {
  /** Do not wait for participants to leave. */
  readonly isNow: boolean;
  /** Do not ask. */
  readonly isSure: boolean;
}

/** How LiveKit is to be ended: after `deadlineMs` at the latest; null where nobody is in a room of it. */
export interface Way {
  readonly deadlineMs: number | null;
  readonly fleet: FleetView | null;
}

/**
 * Finds out whom LiveKit's end would meet. Where other nodes can take them, they get DRAIN_TIMEOUT to leave; on the only
 * node they would be cut off, which a person has to agree to.
 * @throws FleetError NOT_SURE where nobody can be asked; INTERRUPTED where the answer was no
 */
export async function makeWay(context: CliContext, settings: Settings, topology: Topology, { isNow, isSure }: WayOptions): Promise<Way> {
  const { participants, hasOthers, fleet } = await readOccupancy(context.host, settings, topology);
  if (participants === 0) return { deadlineMs: null, fleet };
  if (hasOthers) return { deadlineMs: isNow ? 0 : settings.DRAIN_TIMEOUT * 1000, fleet };
  if (!isSure && !process.stdin.isTTY) throw new FleetError('NOT_SURE', { count: participants }, { exitCode: 2 });
  if (!isSure) await ask(context, 'REALLY_CUT', { count: participants });
  return { deadlineMs: 0, fleet };
}

/** @throws FleetError DECLINED unless the answer is yes */
export async function ask(context: CliContext, code: TextCode, params: Readonly<Record<string, string | number>>): Promise<void> {
  const answer = await readLine(context, translate(context.language, code, params));
  if (!/^\s*(y|yes|是)\s*$/i.test(answer)) throw new FleetError('DECLINED', {}, { exitCode: 130 });
}

/** The line that is typed behind a question, on a terminal that does not show it. */
export async function readHidden(context: CliContext, question: string): Promise<string> {
  stty('-echo');
  try {
    return await readLine(context, question);
  } finally {
    stty('echo');
    // The end of the line was not shown either.
    process.stderr.write('\n');
  }
}

function stty(word: 'echo' | '-echo'): void {
  spawnSync('stty', [word], { stdio: ['inherit', 'ignore', 'ignore'] });
}

/** The line that is typed behind a question. */
export async function readLine({ signal }: CliContext, question: string): Promise<string> {
  // The terminal keeps its own ways: in readline's, Ctrl-C is no signal but an error.
  const lines = createInterface({ input: process.stdin, output: process.stderr, terminal: false });
  try {
    return await lines.question(question, { signal });
  } finally {
    lines.close();
  }
}
