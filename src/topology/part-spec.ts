import type { Settings } from '../settings/schema.ts';
import type { Part } from './topology.ts';

/** A stop may take this long before it becomes a kill; Redis saves. */
export const stopTimeoutSeconds = 20;

/** The same for LiveKit, which waits for its participants: a little more than a command gives them, so that it is the command which ends it. */
export function livekitStopSeconds({ DRAIN_TIMEOUT }: Pick<Settings, 'DRAIN_TIMEOUT'>): number {
  return DRAIN_TIMEOUT + 30;
}

/** How one part is run: data only, argv never holds a secret. */
export interface PartSpec {
  readonly part: Part;
  readonly argv: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  /** True where ports below 1024 must be opened without root. */
  readonly bindsLowPorts: boolean;
  /** True where the program compiles code while it runs (V8), so that its memory may not be write-xor-execute. */
  readonly compilesCode: boolean;
  /** How long its end may take before it is killed: LiveKit waits for its participants. */
  readonly stopSeconds: number;
  /** True for parts that command the kernel's packet filter or its connections, and are root for it. */
  readonly commandsNetwork: boolean;
  /** True for the part that runs this software's own commands, as root. */
  readonly commandsMachine: boolean;
  /** Files whose change needs a restart of this part. */
  readonly configFiles: readonly string[];
}
