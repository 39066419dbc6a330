/** Tells what has come to stay from what passes. @returns true once the same word, and no other, has come for `forMs` */
export function createSteady(forMs: number, monotonicMs: () => number): (word: string) => boolean {
  let last: string | null = null;
  let sinceMs = 0;
  return (word) => {
    if (word !== last) sinceMs = monotonicMs();
    last = word;
    return monotonicMs() - sinceMs >= forMs;
  };
}
