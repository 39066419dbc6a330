import type { DrillWord } from '../contract/drill.ts';

/** What all clients of a drill work with. */
export interface DrillRun {
  /** They go on until it aborts. */
  readonly signal: AbortSignal;
  readonly emit: (word: DrillWord) => void;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
}
