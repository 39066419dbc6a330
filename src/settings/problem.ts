/** One thing wrong with the settings. `source` says where it stands; never holds a secret's value. */
export interface Problem {
  readonly code: string;
  readonly variable: string | null;
  /** Line of `.env`; null where the value came from the command line or nowhere. */
  readonly line: number | null;
  readonly value: string | null;
  /** Nearest known name or other hint data. */
  readonly hint: string | null;
}
