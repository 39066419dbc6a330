import type { Layout } from './topology.ts';

/** Where a restore puts things together; gone once it is complete, or undone. */
export function stagingFolder({ state }: Layout): string {
  return `${state}/restore`;
}
