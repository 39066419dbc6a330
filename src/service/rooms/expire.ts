import type { Store } from '../store/store.ts';

/** A room that LiveKit was not asked for within a day of its making is wanted by nobody. */
const UNUSED_MS = 24 * 3_600_000;

/** Ends rooms that nobody ever joined. */
export interface Expiry {
  /** Looks at some hundred rooms; gives how many that were old enough: 0 when all have been looked at. */
  look(): Promise<number>;
}

/** @param deps.now milliseconds since the epoch */
export function createExpiry({ store, now }: { store: Pick<Store, 'expireRooms'>; now: () => number }): Expiry {
  // Rooms are made in the order of their keys: what was old and joined once is not looked at again.
  let afterKey = 0;
  return {
    async look() {
      const { lastKey, count } = await store.expireRooms({ afterKey, createdBeforeMs: now() - UNUSED_MS, nowMs: now() });
      afterKey = lastKey;
      return count;
    },
  };
}
