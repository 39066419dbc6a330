import type { ErrorParams } from './errors.ts';
import type { TextCode } from './messages/en.ts';

/** What the core says while it works; only `report/` prints it. `code` names a text in both catalogues. */
export type FleetEvent =
  | { kind: 'step-started'; id: string; code: TextCode; params?: ErrorParams }
  | { kind: 'step-progress'; id: string; detail: string }
  | { kind: 'step-finished'; id: string; ms: number; detail?: string }
  | { kind: 'step-failed'; id: string; ms: number; detail: string }
  | { kind: 'note'; code: TextCode; params?: ErrorParams };

/** Where events go. */
export type Emit = (event: FleetEvent) => void;
