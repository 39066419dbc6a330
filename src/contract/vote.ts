/** Redis string: `host:port` of the gateway machine's Sentinel while it votes. */
export const WITNESS_KEY = 'fleet:witness';

/** How often a Sentinel asks for a sign of life, and for what a Redis says of itself, in milliseconds. */
export interface Pace {
  readonly pingMs: number;
  readonly infoMs: number;
}

/**
 * Sentinel's own times are 1 s and 10 s. Until it misses a sign of life it has not asked for one, so half a second counts; and of a
 * replica that has just come, or been promoted, it hears only when it asks. It takes no replica that it has not heard for five pings, and
 * asks those of a lost primary once a second: pings must not come much faster. In a large fleet each asks many. @param machines registered media machines, 1 or more
 */
export function paceOf(machines: number): Pace {
  const [busyMs, idleMs] = [machines * 20, machines * 200];
  return { pingMs: Math.min(1_000, Math.max(500, busyMs)), infoMs: Math.min(10_000, Math.max(600, idleMs)) };
}

/** How a fleet decides that its Redis primary is gone. */
export interface Vote {
  /** How many Sentinels must agree: the majority of all. */
  readonly quorum: number;
  /** True where the gateway's Sentinel votes as well. */
  readonly hasWitness: boolean;
}

/**
 * A Sentinel per media machine votes, and the gateway's where these are even in number: so the number is odd, of two machines either
 * may be lost, and of three one while the gateway is off too. The majority is the same without the witness, and no Sentinel that
 * has yet to hear of the others can decide alone. @param machines registered media machines, 1 or more
 */
export function voteOf(machines: number): Vote {
  return { quorum: Math.floor(machines / 2) + 1, hasWitness: machines % 2 === 0 };
}
