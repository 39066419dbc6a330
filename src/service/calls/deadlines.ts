import type { LivekitRooms } from '../../clients/livekit-rooms.ts';
import { askingOf } from '../rooms/asking.ts';
import { deleteRoom } from '../rooms/delete-room.ts';
import type { Absent, Chores } from '../store/call-works.ts';
import type { Store } from '../store/store.ts';

export interface DeadlineDeps {
  readonly store: Store;
  readonly livekit: Pick<LivekitRooms, 'createRoom' | 'deleteRoom' | 'removeParticipant' | 'listParticipants'>;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
  readonly warn: (error: unknown, what: string) => void;
}

/** Lets happen what a call's time brings, and tells LiveKit what follows. */
export interface Deadlines {
  /** Lets happen what is due. Resolves when LiveKit has been told too, or did not answer. */
  look(): Promise<void>;
  /** Looks when the next thing is due, or somebody changed a call, until `signal` is aborted. */
  keepLooking(signal: AbortSignal): Promise<void>;
}

/** Another instance, or a webhook, may have set a deadline: looked for so often. */
const POLL_MS = 1_000;
/** What is due, and is not done yet, waits for LiveKit. */
const BUSY_POLL_MS = 250;
/** While LiveKit does not say who is there, nobody is taken for absent; for so long. */
const PATIENCE_MS = 60_000;

/** Deadlines are in the database: each comes once, whoever asks, and none is lost with a process. */
export function createDeadlines({ store, livekit, now, warn }: DeadlineDeps): Deadlines {
  /** Keys of calls whose absent people are asked for just now. */
  const asked = new Set<number>();

  async function tellLivekit(chores: Chores): Promise<void> {
    try {
      if (chores.mustClose) await askingOf(() => deleteRoom(livekit, chores.room));
      else await Promise.all(chores.evicted.map((identity) => askingOf(() => livekit.removeParticipant(chores.room, identity))));
      await store.calls.noteDone(chores);
    } catch (error) {
      warn(error, 'a call’s room is not closed yet, or somebody not out of it; tried again');
    }
  }

  async function settle(absent: Absent): Promise<void> {
    if (asked.has(absent.roomKey)) return;
    asked.add(absent.roomKey);
    try {
      const present = await askingOf(() => livekit.listParticipants(absent.room)).catch((error: unknown) => {
        if (now() - absent.sinceMs < PATIENCE_MS) throw error;
        return null;
      });
      const identities = (present ?? []).map(({ identity }) => identity);
      await store.calls.settleAbsence(absent, identities, now());
    } catch (error) {
      warn(error, 'LiveKit does not say who is in a call');
    } finally {
      asked.delete(absent.roomKey);
    }
  }

  /** Gives what goes on after it. */
  async function takeDue(): Promise<Promise<void>[]> {
    const going: Promise<void>[] = [];
    for (let afterKey: number | null = 0; afterKey !== null;) {
      const { chores, absent, lastKey } = await store.calls.takeDue(now(), afterKey);
      going.push(...chores.map(tellLivekit), ...absent.map(settle));
      afterKey = lastKey;
    }
    return going;
  }

  return {
    async look() {
      await Promise.all(await takeDue());
    },
    async keepLooking(signal) {
      let [isChanged, wake]: [boolean, (() => void) | null] = [false, null];
      const changed = (): void => {
        isChanged = true;
        wake?.();
      };
      store.calls.watch(changed);
      signal.addEventListener('abort', changed);
      while (!signal.aborted) {
        isChanged = false;
        const waitMs = await lookNow().catch((error: unknown) => {
          warn(error, 'the deadlines of calls could not be read');
          return POLL_MS;
        });
        if (isChanged) continue;
        await new Promise<void>((resolve) => {
          const timer = setTimeout(resolve, waitMs).unref();
          wake = () => {
            clearTimeout(timer);
            resolve();
          };
        });
      }
    },
  };

  /** Gives how long nothing is due. */
  async function lookNow(): Promise<number> {
    const isDue = ((await store.calls.nextDeadline()) ?? Number.POSITIVE_INFINITY) <= now();
    if (isDue) await takeDue();
    const waitMs = ((await store.calls.nextDeadline()) ?? Number.POSITIVE_INFINITY) - now();
    return waitMs > 0 ? Math.min(waitMs, POLL_MS) : BUSY_POLL_MS;
  }
}
