import type { Kept, Place } from './place.ts';

export interface Retention {
  /** How many stay of each machine. */
  readonly keep: number;
  /** Only of this machine. */
  readonly machine?: string;
  /** This one stays, however old its name says that it is: a clock that was ahead once has made names that sort before it. */
  readonly made?: string;
  /** Stay as well, beyond that number: what is being restored. */
  readonly isKept?: (name: string) => boolean;
}

/** Archives beyond the number that is kept. */
export async function beyond(place: Place, { keep, machine, made, isKept }: Retention): Promise<Kept[]> {
  const all = await place.list();
  const seen = new Map<string, number>();
  for (const one of all) if (one.name === made) seen.set(one.machine, 1);
  return all.filter((one) => {
    if (one.name === made || isKept?.(one.name) === true) return false;
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
