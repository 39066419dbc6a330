/** Work that repeats. */
export interface Ticker {
  /** Runs at once, or once more right after the run under way. */
  poke(): void;
  /** Ends the repetition and waits for the run under way. */
  stop(): Promise<void>;
}

/**
 * Runs `work` at once and then `periodMs` after each run's start (at once, where the run took longer), never twice at a time.
 * `work` handles its own expected errors; what it still throws goes to `onError`, and the next run comes all the same.
 */
export function startTicker(periodMs: number, work: () => Promise<void>, onError: (error: unknown) => void): Ticker {
  let running: Promise<void> | null = null;
  let timer: NodeJS.Timeout | undefined;
  let isPoked = false;
  let isStopped = false;
  const run = (): void => {
    clearTimeout(timer);
    isPoked = false;
    const next = performance.now() + periodMs;
    running = work()
      .catch(onError)
      .then(() => {
        running = null;
        if (!isStopped) timer = setTimeout(run, isPoked ? 0 : Math.max(0, next - performance.now()));
      });
  };
  run();
  return {
    poke() {
      if (isStopped) return;
      if (running === null) run();
      else isPoked = true;
    },
    async stop() {
      isStopped = true;
      clearTimeout(timer);
      await running;
    },
  };
}
