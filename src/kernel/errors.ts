import type { ErrorCode, Params } from './messages/en.ts';

/** Values that fill the placeholders of a message; never secrets. */
export type ErrorParams = Readonly<Record<string, string | number>>;

/** Cause, and the process's exit code where it is not 1: 2 bad settings or usage, 3 another run holds the lock, 130 interrupted. */
interface Options {
  readonly cause?: unknown;
  readonly exitCode?: number;
}

/**
 * An error that a person can act on: `code` names its text in both message catalogues
 * (src/kernel/messages), `params` fill it. Anything that is not a FleetError is a bug and shows a stack.
 */
export class FleetError<C extends ErrorCode = ErrorCode> extends Error {
  override readonly name = 'FleetError';
  readonly code: ErrorCode;
  readonly params: ErrorParams;
  readonly exitCode: number;

  constructor(
    code: C,
    ...[params, options = {}]: Params<C> extends Record<string, never> ? [params?: Params<C>, options?: Options] : [params: Params<C>, options?: Options]
  ) {
    super(`${code} ${JSON.stringify(params ?? {})}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.params = params ?? {};
    this.exitCode = options.exitCode ?? 1;
  }
}
