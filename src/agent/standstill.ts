/** For how long words have stood still, by this machine's own clock: what others' clocks say may be seconds off. */
export interface Standstill {
  /** Gives for how long `about` has had this word whenever it was noted, in milliseconds; 0 for a new one. */
  note(about: string, word: string | number): number;
  /** Forgets all but these. */
  keep(abouts: readonly string[]): void;
}

/** @param monotonicMs a clock that never jumps, in milliseconds */
export function createStandstill(monotonicMs: () => number): Standstill {
  const noted = new Map<string, { word: string | number; sinceMs: number }>();
  return {
    note(about, word) {
      const before = noted.get(about);
      if (before?.word === word) return monotonicMs() - before.sinceMs;
      noted.set(about, { word, sinceMs: monotonicMs() });
      return 0;
    },
    keep(abouts) {
      for (const about of noted.keys()) if (!abouts.includes(about)) noted.delete(about);
    },
  };
}
