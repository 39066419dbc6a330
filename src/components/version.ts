/** Compares dotted versions by number: negative where `a` is older. */
export function compareVersions(a: string, b: string): number {
  return a.localeCompare(b, 'en', { numeric: true });
}

/** The first `1.2` or `1.2.3` in a program's answer (`Redis server v=7.0.15 …`, `go version go1.26.8 …`); null where there is none. */
export function findVersion(text: string): string | null {
  return /\d+\.\d+(?:\.\d+)?/.exec(text)?.[0] ?? null;
}
