import { sendCommands } from '../clients/sentinel.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { MEMBERS_KEY } from '../contract/knock.ts';
import { CHANGED_CHANNEL, LEAVING_KEY, NODES_KEY } from '../contract/node-record.ts';
import { SIGHTS_KEY } from '../contract/sight.ts';
import { FleetError } from '../kernel/errors.ts';
import { masterName } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import { askAll } from './ask-fleet.ts';

/** What waits, and for how long at most. */
export interface GoodbyeContext {
  readonly settings: Settings;
  /** Asks anew where the fleet stands. */
  readonly view: () => Promise<FleetView | null>;
  /** How long each step is tried. A replacement of the primary takes Sentinel a second or two; another machine's departure rather more. */
  readonly patienceMs: number;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** Longer than a departure takes; should its machine lose its power meanwhile, the others may go on then. */
const TURN_MS = 90_000;
const POLL_MS = 500;
/** Sentinel gives a replacement up after some seconds, where it has chosen a Redis that was about to end. Until then it refuses another. */
const ASK_AGAIN_MS = 5_000;
/** A replica has what the primary was told: a fail-over at this moment loses nothing. */
const REPLICATED = ['WAIT', '1', '1000'] as const;

/**
 * Machines leave, or are upgraded, one after the other: two at once could each take the other for the one that stays.
 * @param turnMs how long the others wait should this machine not come to an end
 * @throws FleetError OTHER_IS_LEAVING
 */
export async function takeTurn(machine: string, context: GoodbyeContext, turnMs = TURN_MS): Promise<void> {
  let holder: unknown = null;
  const isTaken = await retry(context, async (fleet) => {
    const [done, found] = await tell(context, fleet, [
      ['SET', LEAVING_KEY, machine, 'NX', 'PX', String(turnMs)],
      ['GET', LEAVING_KEY],
    ]);
    holder = found;
    // Left by a run that was killed.
    if (found === machine && done !== 'OK') await tell(context, fleet, [['PEXPIRE', LEAVING_KEY, String(turnMs)]]);
    return found === machine;
  });
  if (!isTaken) throw new FleetError('OTHER_IS_LEAVING', { machine: String(holder) });
}

/**
 * Makes another machine's Redis the primary where this one has it, and waits until the Sentinels of those who stay name it as well: they
 * hear of it from this machine's, every two seconds, and would hold on to a primary that is gone, too few to choose another.
 * @throws FleetError NO_OTHER_PRIMARY
 */
export async function handOver({ address, staying }: { address: string; staying: readonly string[] }, context: GoodbyeContext): Promise<FleetView> {
  const { REDIS_PASSWORD: password, SENTINEL_PORT: port } = context.settings;
  let after: FleetView | null = null;
  let askedMs = -Infinity;
  await retry(context, async (fleet) => {
    if (fleet.primary.host !== address) {
      if (fleet.registry === null) return false;
      const words = await askAll(context.settings, staying);
      const isKnown = [...words.values()].every((word) => word.kind !== 'member' || word.primary.host !== address);
      after = isKnown ? fleet : null;
      return isKnown;
    }
    if (context.now() - askedMs > ASK_AGAIN_MS && fleet.healthyReplicas > 0) {
      // Refused while it replaces already, and until it knows a replica well enough.
      await sendCommands({ host: '127.0.0.1', port, password }, [['SENTINEL', 'FAILOVER', masterName]]).then(
        () => (askedMs = context.now()),
        () => undefined,
      );
    }
    return false;
  });
  if (after === null) throw new FleetError('NO_OTHER_PRIMARY', { address, seconds: context.patienceMs / 1000 });
  return after;
}

/**
 * Takes a machine, whose agent has ended, out of the registry, tells the primary of that moment until it has it, and gives the others the turn.
 * @throws FleetError GOODBYE_FAILED
 */
export async function sayGoodbye({ machine, address }: { machine: string; address: string }, context: GoodbyeContext): Promise<void> {
  const isTold = await retry(context, async (fleet) => {
    const replies = await tell(context, fleet, [
      ['HDEL', NODES_KEY, machine],
      ['HDEL', MEMBERS_KEY, address],
      // It would count for minutes as one that is missed (see findSilent). A restart is no departure: whoever boots is missed.
      ['HDEL', SIGHTS_KEY, machine],
      ['PUBLISH', CHANGED_CHANNEL, machine],
      ...(fleet.healthyReplicas > 0 ? [REPLICATED] : []),
      ['HEXISTS', NODES_KEY, machine],
    ]);
    if (replies.at(-1) !== 0) return false;
    // After that, this machine's packets may be let in no more.
    await giveTurn(machine, context, fleet);
    return true;
  });
  if (!isTold) throw new FleetError('GOODBYE_FAILED', { machine, address });
}

/** Lets other machines leave. Best effort: the turn ends by itself as well. */
export async function giveTurn(machine: string, context: GoodbyeContext, fleet: FleetView): Promise<void> {
  const script = "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('DEL', KEYS[1]) end return 0";
  await tell(context, fleet, [['EVAL', script, '1', LEAVING_KEY, machine]]).catch(() => undefined);
}

function tell({ settings }: GoodbyeContext, fleet: FleetView, commands: ReadonlyArray<readonly [string, ...string[]]>): Promise<unknown[]> {
  return sendCommands({ ...fleet.primary, password: settings.REDIS_PASSWORD }, commands);
}

/** Tries with the fleet of that moment, until it is done or the patience is over. A primary that refuses or is silent is tried again. */
async function retry(context: GoodbyeContext, work: (fleet: FleetView) => Promise<boolean>): Promise<boolean> {
  for (const deadline = context.now() + context.patienceMs; ;) {
    const fleet = await context.view();
    const isDone =
      fleet !== null &&
      (await work(fleet).catch((error: unknown) => {
        if (error instanceof FleetError && error.code === 'REDIS_REFUSED') return false;
        throw error;
      }));
    if (isDone) return true;
    context.signal.throwIfAborted();
    if (context.now() >= deadline) return false;
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
