import { FleetError } from '../kernel/errors.ts';
import type { Part } from '../topology/topology.ts';

/** What a part is doing. */
export interface PartStatus {
  readonly part: Part;
  /** `failing`: it ended by itself and is being started again. `stopping`: it was told to end and still runs. */
  readonly state: 'running' | 'stopped' | 'failing' | 'stopping';
  readonly pid: number | null;
  readonly uptimeSeconds: number | null;
  /** How often it ended by itself (under systemd: since it was last started on command), and how it last ended. */
  readonly exits: number;
  readonly lastExit: string | null;
}

/** Keeps parts alive: systemd's units, or runit where systemd is not PID 1. Its files are rendered like any other (render/). */
export interface ServiceManager {
  /** Makes the supervisor know the files that stand now, after `isChanged` anew; parts come back after a reboot where it can. */
  activate(options: { isChanged: boolean }): Promise<void>;
  /** Starts a part that is not running; returns at once, health is for the probes to say. */
  start(part: Part): Promise<void>;
  /** Stops and starts a part with the files that stand now. */
  restart(part: Part): Promise<void>;
  stop(part: Part): Promise<void>;
  /** Tells a part to end and not to come back, without waiting for it. */
  beginStop(part: Part): Promise<void>;
  /** Has a part that was told to end started again once it has ended, without waiting for it. */
  beginStart(part: Part): Promise<void>;
  /** Ends a part at once; it is started again unless it was told to stop. */
  kill(part: Part): Promise<void>;
  /** Stops every part and the supervisor itself where it is ours; returns when no process is left. */
  stopAll(): Promise<void>;
  /** Stops a part that this machine no longer has, and removes its files. */
  retire(part: Part): Promise<void>;
  /** In the order asked. */
  status(parts: readonly Part[]): Promise<PartStatus[]>;
  /** The last lines of a part's log; empty where there is none yet. */
  tailLog(part: Part, lines: number): Promise<string>;
  /** A command that prints the last lines of these parts' logs and then what comes. */
  followLogs(parts: readonly Part[], lines: number): readonly string[];
}

/** For what is told to a part that may run no more: with the supervisor gone there is nobody to tell, and nothing runs. */
export function ignoreUncontrolled(error: unknown): void {
  if (!(error instanceof FleetError && error.code === 'PART_NOT_CONTROLLED')) throw error;
}
