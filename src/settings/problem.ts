import type { ProblemCode } from '../kernel/messages/en.ts';

/** One thing wrong with the settings. Never holds a secret's value. */
export interface Problem {
  readonly code: ProblemCode;
  readonly variable: string | null;
  /** Line of `.env`; null where the value came from the command line. */
  readonly line: number | null;
  readonly value: string | null;
  /** Nearest known name or other hint data. */
  readonly hint: string | null;
}
