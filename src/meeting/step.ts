import type { CauseCode } from '../kernel/messages/en.ts';

/** A failed step. The detail is for people. */
export class StepError extends Error {
  override readonly name = 'StepError';
  readonly likely: CauseCode;
  constructor(likely: CauseCode, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.likely = likely;
  }
}

/** What a step works with: `signal` aborts when the step is over; `reached` says how far it came, for the message of a late step. */
export interface StepRun {
  readonly signal: AbortSignal;
  readonly reached: (text: string) => void;
}

/** One step; `work` gives a detail for people. */
export interface Step {
  readonly name: string;
  /** The likely cause when the step takes too long. */
  readonly late: CauseCode;
  readonly work: (run: StepRun) => Promise<string>;
}

/** One line of the report. */
export interface StepReport {
  readonly step: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly detail: string;
  readonly cause?: CauseCode;
}

/**
 * Does one step within its deadline. An error without a cause (the native client's are plain ones) has the cause of a late step.
 * @param options.explain finds the better cause of a failure
 * @throws the signal's reason when it is aborted
 */
export async function runStep(
  step: Step,
  options: { timeoutMs: number; signal: AbortSignal; explain: (found: StepError) => Promise<StepError> },
): Promise<StepReport> {
  const began = performance.now();
  const ended = new AbortController();
  const elapsedMs = (): number => Math.round(performance.now() - began);
  const { promise: early, reject } = Promise.withResolvers<never>();
  let how = 'no answer';
  const late = (): void => reject(new StepError(step.late, `not done within ${options.timeoutMs} ms: ${how}`));
  const timer = setTimeout(late, options.timeoutMs);
  const interrupt = (): void => reject(options.signal.reason);
  if (options.signal.aborted) interrupt();
  options.signal.addEventListener('abort', interrupt);
  try {
    const work = step.work({ signal: ended.signal, reached: (text) => (how = text) });
    const detail = await Promise.race([work, early]);
    return { step: step.name, ok: true, ms: elapsedMs(), detail };
  } catch (error) {
    const ms = elapsedMs();
    ended.abort();
    if (options.signal.aborted) throw error;
    const found = error instanceof StepError ? error : new StepError(step.late, error instanceof Error ? error.message : String(error), { cause: error });
    const { likely, message } = await options.explain(found);
    return { step: step.name, ok: false, ms, cause: likely, detail: message };
  } finally {
    clearTimeout(timer);
    options.signal.removeEventListener('abort', interrupt);
    ended.abort();
  }
}
