import { basename } from 'node:path';
import { diskFullIn } from './disk-full.ts';
import { SourceError } from './source-error.ts';
import { sendSignal } from '../kernel/send-signal.ts';

/** Result of a finished command; code 127 where the program is missing, 124 where the deadline ended it. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a command runs; `onLine` sees every line of stdout and stderr as it comes. */
export interface CommandOptions {
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly onLine?: (line: string) => void;
}

/**
 * Runs argv without a shell, in its own process group: builds and package managers start children of their own, and an
 * abort or the deadline has to end all of them. Never throws for a failing command; throws the signal's reason once it is aborted.
 */
export async function runCommand(
  argv: readonly string[],
  { signal, timeoutMs, env, onLine }: CommandOptions & { signal: AbortSignal },
): Promise<CommandResult> {
  // Where all components are there, nothing is run.
  const { execa } = await import('execa');
  signal.throwIfAborted();
  const [program = '', ...args] = argv;
  const child = execa(program, args, { reject: false, stdin: 'ignore', all: true, detached: true, cleanup: false, ...(env === undefined ? {} : { env }) });
  const { pid } = child;
  let isTimedOut = false;
  const end = (): void => {
    if (pid !== undefined) endGroup(pid);
    // A child that left the group keeps the pipes open; nobody waits for its words.
    child.stdout.destroy();
    child.stderr.destroy();
  };
  const timer = setTimeout(() => {
    isTimedOut = true;
    end();
  }, timeoutMs);
  signal.addEventListener('abort', end, { once: true });
  process.once('exit', end);
  try {
    if (onLine !== undefined) for await (const line of child.iterable({ from: 'all' })) onLine(line);
    const result = await child;
    signal.throwIfAborted();
    if (isTimedOut) return { code: 124, stdout: result.stdout, stderr: `no end after ${timeoutMs / 1000} s` };
    const isMissing = result.exitCode === undefined && result.code === 'ENOENT';
    return { code: isMissing ? 127 : (result.exitCode ?? 1), stdout: result.stdout, stderr: isMissing ? `${program}: not found` : result.stderr };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', end);
    process.removeListener('exit', end);
  }
}

/** How a source runs a command; `doing` is said with the elapsed time while it lasts. */
export interface WorkOptions extends CommandOptions {
  readonly doing?: () => string;
}

/** Runs the commands of one source. */
export interface Runner {
  /** Throws SourceError when the command fails, FleetError DISK_FULL when that is why. */
  run(argv: readonly string[], options: WorkOptions): Promise<CommandResult>;
  /** A command that may fail. */
  ask(argv: readonly string[], options: WorkOptions): Promise<CommandResult>;
}

/** A person who waits wants to see that it goes on. */
const tellEveryMs = 5_000;

/** Commands keep their temporary files in `scratch`, which is removed however they end. */
export function createRunner(context: { scratch: string; storeDir: string; signal: AbortSignal; progress: (detail: string) => void }): Runner {
  const ask = async (argv: readonly string[], { doing, ...options }: WorkOptions): Promise<CommandResult> => {
    const startedAt = performance.now();
    const tell = (): void => {
      if (doing !== undefined) context.progress(`${doing()}, ${Math.round((performance.now() - startedAt) / 1000)} s`);
    };
    const ticker = setInterval(tell, tellEveryMs);
    try {
      return await runCommand(argv, { ...options, signal: context.signal, env: { LC_ALL: 'C.UTF-8', TMPDIR: context.scratch, ...options.env } });
    } finally {
      clearInterval(ticker);
    }
  };
  return {
    ask,
    async run(argv, options) {
      const result = await ask(argv, options);
      if (result.code === 0) return result;
      throw (await diskFullIn(result, context.storeDir)) ?? new SourceError(reasonOf(argv, result));
    },
  };
}

/** Ends a process group; one that has already ended is fine. */
function endGroup(pid: number): void {
  sendSignal(-pid, 'SIGKILL');
}

/** Programs put their own name before their words, or do not. */
function reasonOf(argv: readonly string[], result: CommandResult): string {
  const [name, line] = [basename(argv[0] ?? ''), lastLine(result)];
  return line.startsWith(`${name}: `) ? line : `${name}: ${line}`;
}

/** The last line that says something, for a one-line reason. */
export function lastLine(result: CommandResult): string {
  const lines = `${result.stdout}\n${result.stderr}`.split('\n').map((line) => line.trim());
  return lines.findLast((line) => line !== '') ?? `exit code ${result.code}`;
}
