import type { Command } from 'commander';
import type { CliContext, GlobalOptions } from './context.ts';
import type { WayOptions } from './make-way.ts';

/** Commands by their names: how each is added to a program. */
export type Commands = Readonly<Record<string, (program: Command) => void>>;

/** What every command is made with. */
export interface CommandTools {
  action(work: (context: CliContext, ...words: string[]) => Promise<number | void>): (...all: unknown[]) => Promise<void>;
  examples(...lines: string[]): string;
  say(zh: string, en: string): string;
}

/** The options of a command and those of all. */
export function optionsOf<T>(command: Command): T & GlobalOptions {
  return command.optsWithGlobals<T & GlobalOptions>();
}

/** Options of a command that may end LiveKit. */
export function withWay(command: Command, say: CommandTools['say']): void {
  command.option('--now', say('不等待参会者离开', 'do not wait for participants to leave')).option('-y, --yes', say('不询问', 'do not ask'));
}

export function wayOptions(command: Command): WayOptions {
  const { now, yes } = optionsOf<{ now?: boolean; yes?: boolean }>(command);
  return { isNow: now === true, isSure: yes === true };
}
