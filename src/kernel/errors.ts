/** Values that fill the placeholders of a message; never secrets. */
export type ErrorParams = Readonly<Record<string, string | number>>;

/**
 * An error that a person can act on: `code` names its text in both message catalogues
 * (src/kernel/messages), `params` fill it. Anything that is not a FleetError is a bug and shows a stack.
 */
export class FleetError extends Error {
  override readonly name = 'FleetError';
  readonly code: string;
  readonly params: ErrorParams;
  /** Process exit code: 1 failed, 2 bad settings or usage, 3 another run holds the lock. */
  readonly exitCode: number;

  constructor(code: string, params: ErrorParams = {}, options: { cause?: unknown; exitCode?: number } = {}) {
    super(`${code} ${JSON.stringify(params)}`, options.cause === undefined ? undefined : { cause: options.cause });
    this.code = code;
    this.params = params;
    this.exitCode = options.exitCode ?? 1;
  }
}
