/** How many participants LiveKit's metrics (Prometheus' text) count, the sum over its series; 0 where they count none. */
export function participantsOf(metrics: string): number {
  return [...metrics.matchAll(/^livekit_participant_total(?:\{[^}]*\})? (\S+)$/gm)].reduce((sum, [, value]) => sum + Number(value), 0);
}
