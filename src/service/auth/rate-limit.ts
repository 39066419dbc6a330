/** How much one caller may do: so many at once as in `BURST_SECONDS`, then so many a second. */
export interface RateLimit {
  /** Takes one for `key`. Gives the whole seconds to wait where there is none left; 0: go on. */
  take(key: string): number;
  /** As `take`, without taking. */
  waitOf(key: string): number;
}

const BURST_SECONDS = 5;
/** Callers that are remembered: some hundred bytes each. */
const MAX_KEYS = 10_000;

interface Bucket {
  left: number;
  atMs: number;
}

/** @param options.perSecond 0: no limit; may be a fraction; @param options.now milliseconds, of any beginning */
export function createRateLimit({ perSecond, now }: { perSecond: number; now: () => number }): RateLimit {
  const most = Math.max(1, perSecond * BURST_SECONDS);
  /** In the order of their first use; a full one is as good as none. */
  const buckets = new Map<string, Bucket>();

  const refill = (bucket: Bucket, nowMs: number): void => {
    bucket.left = Math.min(most, bucket.left + (Math.max(0, nowMs - bucket.atMs) / 1000) * perSecond);
    bucket.atMs = nowMs;
  };
  const forget = (nowMs: number): void => {
    for (const [key, bucket] of buckets) {
      refill(bucket, nowMs);
      if (bucket.left >= most) buckets.delete(key);
    }
    // All of them are busy: the oldest begin anew.
    for (const key of buckets.keys()) {
      if (buckets.size < MAX_KEYS / 2) return;
      buckets.delete(key);
    }
  };
  const secondsFor = ({ left }: Bucket): number => (left >= 1 ? 0 : Math.max(1, Math.ceil((1 - left) / perSecond)));
  if (perSecond === 0) return { take: () => 0, waitOf: () => 0 };
  return {
    take(key) {
      const nowMs = now();
      let bucket = buckets.get(key);
      if (bucket === undefined) {
        if (buckets.size >= MAX_KEYS) forget(nowMs);
        bucket = { left: most, atMs: nowMs };
        buckets.set(key, bucket);
      } else refill(bucket, nowMs);
      const seconds = secondsFor(bucket);
      if (seconds === 0) bucket.left -= 1;
      return seconds;
    },
    waitOf(key) {
      const bucket = buckets.get(key);
      if (bucket === undefined) return 0;
      refill(bucket, now());
      return secondsFor(bucket);
    },
  };
}
