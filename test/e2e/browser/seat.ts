/** What has come in from the others so far; sums over all their tracks. */
export interface Received {
  readonly videoBytes: number;
  /** Pictures that were decoded. */
  readonly videoFrames: number;
  readonly audioBytes: number;
  /** Sound that was played, in WebRTC's measure: it grows only while there is something to hear. */
  readonly audioEnergy: number;
}

/** One participant in the page; the global `seat` there. */
export interface Seat {
  /** Joins with camera and microphone; done when both are published. `isOverTls`: through a TURN server over TLS only. */
  enter(url: string, token: string, options?: { isOverTls: boolean }): Promise<void>;
  /** Identities of the others. */
  others(): string[];
  received(): Promise<Received>;
  /** How its packets go to the relays that are in use: udp, tcp or tls; none where no relay is. */
  relayProtocols(): Promise<string[]>;
  leave(): Promise<void>;
}

/** The global scope of the page, for functions that a test evaluates there. */
export interface PageScope {
  readonly seat: Seat;
  readonly isSecureContext: boolean;
}
