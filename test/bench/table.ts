/** One line of the result: a figure of ours beside the least that is possible. */
export interface Row {
  readonly name: string;
  /** Empty for a number of things. */
  readonly unit: 's' | 'ms' | '/s' | 'kB/s' | 'MB' | '%' | '';
  /** One value per round, as in `floor`. */
  readonly ours: readonly number[];
  /** Empty where the limit is a number of its own. */
  readonly floor: readonly number[];
  /** As a multiple of the floor, or in the row's unit. */
  readonly limit: { readonly times: number } | { readonly value: number } | { readonly atLeast: number };
  /** True where no round may be beyond the limit; otherwise the median alone counts. */
  readonly isWorstCounted?: true;
}

/** A row with its medians and whether it keeps its limit. */
export interface Judged extends Row {
  readonly median: number;
  readonly floorMedian: number | null;
  readonly ratio: number | null;
  readonly isWithin: boolean;
  /** True where the greatest value is within too. */
  readonly isWorstWithin: boolean;
}

/** Works out medians, ratio and verdict. */
export function judge(row: Row): Judged {
  const median = medianOf(row.ours);
  const floorMedian = row.floor.length === 0 ? null : medianOf(row.floor);
  // Pair by pair: a machine that is busy for a while is so for both sides of a round.
  const ratio = floorMedian === null ? null : medianOf(row.ours.map((value, round) => value / (row.floor[round] ?? Number.NaN)));
  const worst = isWithin(row.limit, Math.max(...row.ours), ratio);
  return { ...row, median, floorMedian, ratio: Number.isFinite(ratio) ? ratio : null, isWithin: isWithin(row.limit, median, ratio), isWorstWithin: worst };
}

function isWithin(limit: Row['limit'], median: number, ratio: number | null): boolean {
  if ('times' in limit) return ratio !== null && ratio <= limit.times;
  return 'atLeast' in limit ? median >= limit.atLeast : median <= limit.value;
}

/** The rows as aligned text: medians, and the range of each figure in brackets. */
export function formatTable(rows: readonly Judged[]): string {
  const lines = rows.map((row) => [
    row.name,
    figure(row.median, row.ours, row.unit),
    row.floorMedian === null ? '–' : figure(row.floorMedian, row.floor, row.unit),
    row.ratio === null ? '–' : `${row.ratio.toFixed(2)} ×`,
    limitOf(row),
    verdictOf(row),
  ]);
  const all = [['', 'ours', 'floor or rival', 'ratio', 'limit', ''], ...lines];
  const widths = [0, 1, 2, 3, 4, 5].map((column) => Math.max(...all.map((line) => line[column]?.length ?? 0)));
  return all
    .map((line) =>
      line
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd(),
    )
    .join('\n');
}

function verdictOf({ isWithin: isMedianWithin, isWorstWithin, isWorstCounted }: Judged): string {
  if (!isMedianWithin) return '✗';
  return isWorstCounted === true && !isWorstWithin ? '✗ the greatest' : '✓';
}

function limitOf({ limit, unit }: Row): string {
  if ('times' in limit) return `${limit.times} ×`;
  return `${'atLeast' in limit ? `≥ ${limit.atLeast}` : limit.value} ${unit}`.trimEnd();
}

function figure(median: number, values: readonly number[], unit: Row['unit']): string {
  const text = (value: number): string => value.toFixed(unit === 's' || unit === '%' ? 2 : unit === 'ms' || unit === 'kB/s' ? 1 : 0);
  const range = values.length > 1 ? ` [${text(Math.min(...values))}–${text(Math.max(...values))}]` : '';
  return `${text(median)} ${unit}`.trimEnd() + range;
}

function medianOf(values: readonly number[]): number {
  const sorted = values.toSorted((a, b) => a - b);
  const middle = sorted.length / 2;
  return ((sorted[Math.ceil(middle) - 1] ?? Number.NaN) + (sorted[Math.floor(middle)] ?? Number.NaN)) / 2;
}
