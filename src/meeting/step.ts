import type { CauseCode } from '../kernel/messages/en.ts';

/** Why a step of the meeting failed, as far as it can be told from outside. */
export type Cause = Exclude<CauseCode, 'CLIENT_CRASHED'>;

/** A failed step. */
export class StepError extends Error {
  override readonly name = 'StepError';
  readonly likely: Cause;
  constructor(likely: Cause, detail: string, options?: ErrorOptions) {
    super(detail, options);
    this.likely = likely;
  }
}

/** Rejects with a StepError when `work` takes longer than `ms` milliseconds. */
export async function within<T>(ms: number, likely: Cause, work: Promise<T>): Promise<T> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<never>((_resolve, reject) => {
    timer = setTimeout(() => reject(new StepError(likely, `no result within ${ms} ms`)), ms);
  });
  try {
    return await Promise.race([work, late]);
  } finally {
    clearTimeout(timer);
  }
}

/** What an error says at its root. */
export function rootMessage(error: unknown): string {
  let current: unknown = error;
  while (current instanceof Error && current.cause instanceof Error) current = current.cause;
  return current instanceof Error ? current.message : String(current);
}
