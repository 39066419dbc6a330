import type { Layout } from './topology.ts';

/** What the upgrades part begins the names of its files with. */
export function upgradesBase(layout: Layout): string {
  return `${layout.run}/upgrades`;
}

/** The program that carries out upgrades which were ordered on another machine. */
export function upgradesScript(layout: Layout): string {
  return `${layout.app}/upgrades.sh`;
}

/**
 * The pipe that the agent writes orders to, the part's state in words, how the last order ended (`ID EXIT_CODE`, or `ID -` while it
 * runs), and what its command has said.
 */
export function upgradeFiles(layout: Layout): Readonly<Record<'pipe' | 'state' | 'result' | 'log', string>> {
  const base = upgradesBase(layout);
  return { pipe: `${base}.pipe`, state: `${base}.state`, result: `${base}.result`, log: `${base}.log` };
}
