/** Redis string: `host:port` of the gateway machine's Sentinel while it votes. */
export const WITNESS_KEY = 'fleet:witness';

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
