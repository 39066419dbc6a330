import type { Work } from './work.ts';

export interface Job {
  readonly work: () => Work<unknown>;
  resolve(value: unknown): void;
  reject(error: unknown): void;
}

/** Queues beside each other; what waits in one is done together. */
export interface Lanes {
  add<T>(work: () => Work<T>, subject?: string): Promise<T>;
  /** Resolves when nothing waits. */
  idle(): Promise<void>;
}

/** A transaction of more would hold its rows for too long. */
const MOST_AT_A_TIME = 32;

interface Lane {
  readonly index: number;
  waiting: Job[];
  running: Promise<void> | null;
}

/**
 * @param run does all of these, each as if it were alone, and settles each; never rejects.
 * Works of one subject are in one lane, those without in the emptiest.
 */
export function createLanes(count: number, run: (jobs: readonly Job[], lane: number) => Promise<void>): Lanes {
  const lanes = Array.from({ length: count }, (_, index): Lane => ({ index, waiting: [], running: null }));
  const keepRunning = async (lane: Lane): Promise<void> => {
    while (lane.waiting.length > 0) await run(lane.waiting.splice(0, MOST_AT_A_TIME), lane.index);
    lane.running = null;
  };
  const emptiest = (): number => {
    let best = 0;
    for (const [index, lane] of lanes.entries()) {
      if (lane.running === null) return index;
      if (lane.waiting.length < (lanes[best]?.waiting.length ?? 0)) best = index;
    }
    return best;
  };
  return {
    add<T>(work: () => Work<T>, subject?: string) {
      const lane = lanes[subject === undefined ? emptiest() : hashOf(subject) % count];
      if (lane === undefined) throw new Error('there is no lane');
      return new Promise<T>((resolve, reject) => {
        lane.waiting.push({ work, resolve: resolve as (value: unknown) => void, reject });
        lane.running ??= keepRunning(lane);
      });
    },
    async idle() {
      await Promise.all(lanes.map(({ running }) => running));
    },
  };
}

function hashOf(text: string): number {
  let hash = 0;
  for (let index = 0; index < text.length; index++) hash = (Math.imul(hash, 31) + text.charCodeAt(index)) >>> 0;
  return hash;
}
