import type { Architecture, Component } from './catalogue.ts';
import type { Runner } from './run-command.ts';

/** What a source needs to do its work. */
export interface SourceContext extends Runner {
  readonly component: Component;
  /** Empty folder that becomes the component's folder in the store. */
  readonly stage: string;
  /** Folder for what is thrown away afterwards (archives, toolchains, temporary files). */
  readonly scratch: string;
  readonly architecture: Architecture;
  readonly mirror: string | null;
  readonly goProxy: string | null;
  readonly signal: AbortSignal;
  /** Says how far the work is. */
  readonly progress: (detail: string) => void;
  readonly shared: SharedWork;
}

/** What the components of one run have in common. Downloads of packages take no turn: they lock nothing and wait for nobody. */
export interface SharedWork {
  /** One Go build at a time: two at once need more memory than a small machine has. */
  readonly oneGoBuild: Lane;
  /** Debian's package lists are fetched once; all that needs them waits for the same fetch. */
  readonly refreshPackageLists: Once;
  /** pip is installed once, where the machine has none. */
  readonly installPip: Once;
}

/** What a source gave: paths of the binaries, relative to the stage (or absolute for a system binary). */
export interface SourceResult {
  readonly version: string;
  readonly binaries: Record<string, string>;
}

/** Runs tasks one after the other; `onWait` is called where it is not this one's turn at once. */
export type Lane = <T>(task: () => Promise<T>, onWait: () => void) => Promise<T>;

/** Runs the first task it is given; everyone gets its end. */
export type Once = (task: () => Promise<void>) => Promise<void>;

/** For one run of bringComponents. */
export function shareWork(): SharedWork {
  return { oneGoBuild: createLane(), refreshPackageLists: createOnce(), installPip: createOnce() };
}

/** A failed task does not hold up the next one. */
function createLane(): Lane {
  let last: Promise<unknown> = Promise.resolve();
  let pending = 0;
  return (task, onWait) => {
    if (pending > 0) onWait();
    pending += 1;
    const next = last.then(task).finally(() => (pending -= 1));
    last = next.catch(() => undefined);
    return next;
  };
}

function createOnce(): Once {
  let first: Promise<void> | undefined;
  return (task) => (first ??= task());
}
