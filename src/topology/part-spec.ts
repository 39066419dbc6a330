import type { Part } from './topology.ts';

/** How one part is run: data only, argv never holds a secret. */
export interface PartSpec {
  readonly part: Part;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** True where ports below 1024 must be opened without root. */
  readonly bindsLowPorts: boolean;
  /** Files whose change needs a restart of this part. */
  readonly configFiles: readonly string[];
}
