import { FleetError } from '../kernel/errors.ts';
import type { Kept, Place } from './place.ts';

export interface Retention {
  /** How many stay of each machine. */
  readonly keep: number;
  /** Wall clock, ms since 1970. */
  readonly nowMs: number;
  /** Only of this machine. */
  readonly machine?: string;
  /** This one stays, however old its name says that it is. */
  readonly made?: string;
  /** Stay as well, beyond that number: what is being restored. */
  readonly isKept?: (name: string) => boolean;
}

/** Clocks of machines that share a place differ by less. */
const SKEW_MS = 600_000;

/**
 * Archives beyond the number that is kept. Those whose names lie in the future do not count, and stay: either a clock was ahead when
 * they were made, and they would push out good ones, or it is behind now, and they are the good ones.
 */
export async function beyond(place: Place, { keep, nowMs, machine, made, isKept }: Retention): Promise<Kept[]> {
  const all = await place.list();
  const seen = new Map<string, number>();
  for (const one of all) if (one.name === made) seen.set(one.machine, 1);
  return all.filter((one) => {
    if (one.name === made || isKept?.(one.name) === true || Date.parse(one.madeAt) > nowMs + SKEW_MS) return false;
    const count = (seen.get(one.machine) ?? 0) + 1;
    seen.set(one.machine, count);
    return count > keep && (machine === undefined || one.machine === machine);
  });
}

/** Removes them, and says which they were. */
export async function removeBeyond(place: Place, retention: Retention): Promise<Kept[]> {
  const old = await beyond(place, retention);
  for (const one of old) await place.remove(one.name);
  return old;
}

/** As removeBeyond, after something that is done already: what is too old stays then where it cannot be removed. @param onStay is told why */
export async function tryRemoveBeyond(place: Place, retention: Retention, onStay: (reason: FleetError) => void): Promise<void> {
  try {
    await removeBeyond(place, retention);
  } catch (error) {
    if (!(error instanceof FleetError && (error.code === 'BACKUP_PLACE_UNUSABLE' || error.code === 'BACKUP_PLACE_UNREADABLE'))) throw error;
    onStay(error);
  }
}

/**
 * Does what shows that an archive which was just written is good. One that is not, or of which nobody knows, goes: it would count among
 * those that are kept, and push out one that was proved.
 * @throws what `proof` throws
 */
export async function keepIfProved(place: Place, name: string, proof: () => Promise<void>): Promise<void> {
  try {
    await proof();
  } catch (error) {
    await place.remove(name).catch(() => undefined);
    throw error;
  }
}
