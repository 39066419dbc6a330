import { execa } from 'execa';

/** Result of a finished command; code 127 where the program is missing. */
export interface CommandResult {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** How a command runs; `onLine` sees every line of stdout and stderr as it comes. */
export interface CommandOptions {
  readonly signal: AbortSignal;
  readonly timeoutMs: number;
  readonly env?: Readonly<Record<string, string>>;
  readonly onLine?: (line: string) => void;
}

/** Runs argv without a shell. Never throws for a failing command; throws the signal's reason once it is aborted. */
export type RunCommand = (argv: readonly string[], options: CommandOptions) => Promise<CommandResult>;

/**
 * Runs a command in its own process group: builds and package managers start children of their own, and an abort
 * or the deadline has to end all of them.
 */
export const runCommand: RunCommand = async (argv, { signal, timeoutMs, env, onLine }) => {
  signal.throwIfAborted();
  const [program = '', ...args] = argv;
  const child = execa(program, args, { reject: false, stdin: 'ignore', all: true, detached: true, cleanup: false, ...(env === undefined ? {} : { env }) });
  const { pid } = child;
  let isTimedOut = false;
  const killGroup = (): void => {
    if (pid !== undefined) endGroup(pid);
  };
  const timer = setTimeout(() => {
    isTimedOut = true;
    killGroup();
  }, timeoutMs);
  signal.addEventListener('abort', killGroup, { once: true });
  process.once('exit', killGroup);
  try {
    if (onLine !== undefined) for await (const line of child.iterable({ from: 'all' })) onLine(line);
    const result = await child;
    signal.throwIfAborted();
    if (isTimedOut) return { code: 124, stdout: result.stdout, stderr: `no end after ${timeoutMs / 1000} s` };
    const isMissing = result.exitCode === undefined && result.code === 'ENOENT';
    return { code: isMissing ? 127 : (result.exitCode ?? 1), stdout: result.stdout, stderr: isMissing ? `${program}: not found` : result.stderr };
  } finally {
    clearTimeout(timer);
    signal.removeEventListener('abort', killGroup);
    process.removeListener('exit', killGroup);
  }
};

/** Ends a process group; one that has already ended is fine. */
function endGroup(pid: number): void {
  try {
    process.kill(-pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

/** The last line that says something, for a one-line reason. */
export function lastLine(result: CommandResult): string {
  const lines = `${result.stdout}\n${result.stderr}`.split('\n').map((line) => line.trim());
  return lines.findLast((line) => line !== '') ?? `exit code ${result.code}`;
}
