import type { Layout } from './topology.ts';

/** What the sockets part begins the names of its files with. */
export function socketsBase(layout: Layout): string {
  return `${layout.run}/sockets`;
}

/** The program that closes connections. */
export function socketsScript(layout: Layout): string {
  return `${layout.app}/sockets.sh`;
}

/** The pipe that the agent writes to, a line `ADDRESS PORT` for the connections to close or `cut SECONDS` for a drill, and the part's state in words. */
export function socketFiles(layout: Layout): Readonly<Record<'pipe' | 'state', string>> {
  const base = socketsBase(layout);
  return { pipe: `${base}.pipe`, state: `${base}.state` };
}
