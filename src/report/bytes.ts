const UNITS = ['B', 'kB', 'MB', 'GB', 'TB'];

/** A size for people: bytes below 1 kB, else three digits or so of kB, MB, GB (powers of 1000). */
export function describeBytes(bytes: number): string {
  let [value, unit] = [bytes, 0];
  // What would be shown as 1000.0 is one of the next.
  while (value >= 999.95 && unit < UNITS.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${unit === 0 ? value : value.toFixed(1)} ${UNITS[unit] ?? ''}`;
}

/** The bytes of all of them. */
export function totalBytes(all: ReadonlyArray<{ readonly bytes: number }>): number {
  return all.reduce((sum, { bytes }) => sum + bytes, 0);
}
