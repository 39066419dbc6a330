import { setTimeout as delay } from 'node:timers/promises';
import { mediaMachines } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';

const PERIOD_MS = 500;

/**
 * Writes to every Redis from machine 1 all the time. `end` gives the longest time in milliseconds that more than one took it. What a
 * primary takes that nobody reaches is of no account: it is dropped when others do again.
 */
export function watchPrimaries(fleet: FleetOfThree, say: (text: string) => void): { end: () => number } {
  const stop = new AbortController();
  let sinceMs: number | null = null;
  let longestMs = 0;
  let told = '';
  const takesWrites = async (number: number): Promise<boolean> => {
    // Machine 1 may be off.
    const said = await fleet.redis(1, ['-h', `192.168.1.${number}`, 'SET', 'chaos:write', '1', 'PX', '1000']).catch(() => '');
    return said.startsWith('OK');
  };
  const watch = async (): Promise<void> => {
    while (!stop.signal.aborted) {
      const atMs = performance.now();
      const answers = await Promise.all(mediaMachines.map(takesWrites));
      const takers = mediaMachines.filter((_, index) => answers[index]);
      const now = takers.join(' ');
      if (now !== told) say(`writes go to ${now === '' ? 'none' : now}`);
      told = now;
      if (takers.length < 2) sinceMs = null;
      else longestMs = Math.max(longestMs, performance.now() - (sinceMs ??= atMs));
      // Where the run breaks off, this keeps nobody.
      await delay(PERIOD_MS, undefined, { ref: false });
    }
  };
  void watch();
  return {
    end() {
      stop.abort();
      return Math.round(longestMs);
    },
  };
}
