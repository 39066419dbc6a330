import type { EndpointState } from '../store/endpoint-rows.ts';
import { pauseAsked, pauseOf } from './patience.ts';
import type { Answer } from './send.ts';

/** Whether an endpoint takes anything at all. One that does not is asked by one message at a time, ever less often. */
export interface Trouble {
  /** True where it took nothing before. */
  succeeded(): boolean;
  failed(answer: Answer): void;
  isInTrouble(): boolean;
  /** Nothing may be sent before then; since 1970. */
  pausedUntilMs(): number;
  failingSinceMs(): number | null;
  /** What is to be kept; null where that has not changed since it was asked. */
  takeState(): EndpointState | null;
}

/** So many failures in a row, of whatever rooms, are the endpoint's own. */
const IN_A_ROW = 8;

/** @param deps.state from before; @param deps.random between 0 and 1 */
export function createTrouble({ state, now, random }: { state: EndpointState; now: () => number; random: () => number }): Trouble {
  let { failingSinceMs, error } = state;
  let [failures, rounds, pausedUntilMs] = [0, 0, 0];
  let isNew = false;
  return {
    isInTrouble: () => failures >= IN_A_ROW,
    pausedUntilMs: () => pausedUntilMs,
    failingSinceMs: () => failingSinceMs,
    succeeded() {
      const wasInTrouble = failures >= IN_A_ROW;
      [failures, rounds, pausedUntilMs] = [0, 0, 0];
      if (failingSinceMs !== null) [failingSinceMs, error, isNew] = [null, null, true];
      return wasInTrouble;
    },
    failed({ status, error: text, retryAfterMs }) {
      const nowMs = now();
      failures++;
      if (failingSinceMs === null || error !== text) [failingSinceMs, error, isNew] = [failingSinceMs ?? nowMs, text, true];
      // What failed in one round is one failure.
      if (failures >= IN_A_ROW && nowMs >= pausedUntilMs) pausedUntilMs = nowMs + pauseOf(++rounds, random());
      if (retryAfterMs !== null && (status === 429 || status === 503)) pausedUntilMs = Math.max(pausedUntilMs, nowMs + pauseAsked(retryAfterMs));
    },
    takeState() {
      if (!isNew) return null;
      isNew = false;
      return { failingSinceMs, error };
    },
  };
}
