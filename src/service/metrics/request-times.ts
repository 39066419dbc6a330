/** Upper ends in seconds, each of which counts all below it (Prometheus' own, and some for what a local database takes). */
export const TIME_BUCKETS = [0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10] as const;
/** A webhook says to the second when it was made. */
export const LAG_BUCKETS = [1, 2, 5, 10, 30, 60, 300, 3600] as const;

/** Counts of values by size: some nanoseconds a value. */
export interface Histogram {
  readonly buckets: readonly number[];
  /** By the same index, those above the bucket before; the last is above all. */
  readonly counts: Float64Array;
  sum: number;
}

export function createHistogram(buckets: readonly number[]): Histogram {
  return { buckets, counts: new Float64Array(buckets.length + 1), sum: 0 };
}

export function observe(histogram: Histogram, value: number): void {
  const { buckets, counts } = histogram;
  let index = 0;
  while (index < buckets.length && value > (buckets[index] ?? 0)) index++;
  counts[index] = (counts[index] ?? 0) + 1;
  histogram.sum += value;
}

/** What happened at one route. */
export interface RouteCounts {
  readonly method: string;
  readonly route: string;
  readonly times: Histogram;
  /** Answers by hundreds: `statuses[2]` are 2xx. */
  readonly statuses: Float64Array;
}

/** What the service counts as it works; all else is asked for at a scrape. */
export interface Counts {
  readonly routes: RouteCounts[];
  /** From LiveKit's making of an event to its arrival, in seconds. */
  readonly webhookLag: Histogram;
}

export function createCounts(): Counts {
  return { routes: [], webhookLag: createHistogram(LAG_BUCKETS) };
}

/** The counts of a further route. */
export function addRoute(counts: Counts, method: string, route: string): RouteCounts {
  const added = { method, route, times: createHistogram(TIME_BUCKETS), statuses: new Float64Array(6) };
  counts.routes.push(added);
  return added;
}

/** @param ms how long it took */
export function countAnswer({ times, statuses }: RouteCounts, status: number, ms: number): void {
  observe(times, ms / 1000);
  const hundreds = Math.floor(status / 100);
  statuses[hundreds] = (statuses[hundreds] ?? 0) + 1;
}
