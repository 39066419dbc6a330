import type { Architecture, Component } from './catalogue.ts';
import type { RunCommand } from './run-command.ts';

/** What a source needs to do its work. */
export interface SourceContext {
  readonly component: Component;
  /** Empty folder that becomes the component's folder in the store. */
  readonly stage: string;
  /** Folder for what is thrown away afterwards (archives, toolchains). */
  readonly scratch: string;
  readonly architecture: Architecture;
  readonly mirror: string | null;
  readonly goProxy: string | null;
  readonly run: RunCommand;
  readonly fetch: typeof fetch;
  readonly signal: AbortSignal;
  /** Says how far the work is; called as often as one likes. */
  readonly progress: (detail: string) => void;
  /** One Go build at a time: two at once need more memory than a small machine has. */
  readonly oneGoBuild: Lane;
  /** One apt at a time: it takes locks and does not wait for them. */
  readonly oneApt: Lane;
}

/** What a source gave: paths of the binaries, relative to the stage (or absolute for a system binary). */
export interface SourceResult {
  readonly version: string;
  readonly binaries: Record<string, string>;
}

/** Runs tasks one after the other. */
export type Lane = <T>(task: () => Promise<T>) => Promise<T>;

/** A new lane; a failed task does not hold up the next one. */
export function createLane(): Lane {
  let last: Promise<unknown> = Promise.resolve();
  return (task) => {
    const next = last.then(task, task);
    last = next.catch(() => undefined);
    return next;
  };
}
