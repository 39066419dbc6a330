const HOUR_MS = 3_600_000;
/** A message is tried for so long, */
export const PATIENCE_MS = 24 * HOUR_MS;
/** and this often at least, however long it has waited for its turn. */
const LEAST_ATTEMPTS = 3;
const FIRST_MS = 1_000;
const LONGEST_MS = HOUR_MS;
/** An endpoint that takes nothing is asked this often at least: so long after its return all goes on. */
const LONGEST_PAUSE_MS = 300_000;

/**
 * When a message is tried again, since 1970; null: it is given up.
 * @param options.retryAfterMs what the endpoint asked for; @param options.random between 0 and 1: those that failed together do not come back together
 */
export function nextAttempt(
  { queuedAtMs, attempts }: { queuedAtMs: number; attempts: number },
  { nowMs, retryAfterMs, random }: { nowMs: number; retryAfterMs: number | null; random: number },
): number | null {
  const next = nowMs + Math.max(spread(Math.min(FIRST_MS * 2 ** (attempts - 1), LONGEST_MS), random), retryAfterMs ?? 0);
  return attempts >= LEAST_ATTEMPTS && next > queuedAtMs + PATIENCE_MS ? null : Math.round(next);
}

/** How long an endpoint that takes nothing is left alone. @param round 1 for the first time */
export function pauseOf(round: number, random: number): number {
  return spread(Math.min(FIRST_MS * 2 ** (round - 1), LONGEST_PAUSE_MS), random);
}

/** How long it is left alone because it asks for that. */
export function pauseAsked(retryAfterMs: number): number {
  return Math.min(retryAfterMs, HOUR_MS);
}

function spread(ms: number, random: number): number {
  return ms * (0.75 + random / 2);
}
