import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import type { PostgresAccess } from './postgres-access.ts';
import type { PostgresTools } from './postgres-tools.ts';

/** A database that is reached with PostgreSQL's own programs. */
export interface Postgres {
  readonly tools: PostgresTools;
  readonly access: PostgresAccess;
  /** Whom the programs run as: the service user, who may be known to the server by that (`peer`) and reads its keys. */
  readonly user: { readonly uid: number; readonly gid: number };
}

/** What PostgreSQL, or one of its programs, complained about. */
export class PostgresFailure extends Error {
  /** True where there was no connection, or it was lost. */
  readonly isAway: boolean;

  constructor(message: string, isAway: boolean) {
    super(message);
    this.isAway = isAway;
  }
}

/**
 * One connection, by psql. What is begun and not committed is undone when this process ends, however it ends: psql then finds the end of
 * what it reads, and leaves.
 */
export interface PostgresSession {
  /** Runs statements; the lines of their answers. @throws PostgresFailure; the signal's reason */
  ask(sql: string): Promise<string[]>;
  /** Hands on a piece of a script. Whether it was right the next `ask` tells. */
  feed(chunk: Buffer | string): Promise<void>;
  close(): Promise<void>;
}

/** psql's exit code for a connection that could not be made, or that was lost. */
const AWAY = 2;
/** The server gives up within a second what it does for a psql that has gone, from version 14 on. */
const NOTICE_END = "SELECT set_config(name, '1s', false) FROM pg_settings WHERE name = 'client_connection_check_interval'";
/** libpq has no variables for these: whoever is gone without a word is noticed within half a minute, not two hours. */
export const KEEPALIVE = '--dbname=keepalives_idle=10 keepalives_interval=5 keepalives_count=3 tcp_user_timeout=30000';
/** Of what it complained about: the first line says it. */
const KEPT_BYTES = 4_096;

/** Connects. @throws PostgresFailure; the signal's reason */
export async function openSession({ tools, access, user }: Postgres, signal: AbortSignal): Promise<PostgresSession> {
  signal.throwIfAborted();
  const words = [KEEPALIVE, '--no-psqlrc', '--no-align', '--tuples-only', '--quiet', '--no-password', '--set=ON_ERROR_STOP=1'];
  const child = spawn(`${tools.folder}/psql`, words, { uid: user.uid, gid: user.gid, cwd: '/', env: { ...access.env } });
  const abort = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', abort, { once: true });
  let said = '';
  child.stderr.on('data', (text: Buffer) => (said = (said + text.toString()).slice(0, KEPT_BYTES)));
  // Whoever asks hears that it has gone.
  child.stdin.on('error', () => undefined);
  let lines: string[] = [];
  let waiting: { mark: string; resolve: (lines: string[]) => void } | null = null;
  createInterface({ input: child.stdout }).on('line', (line) => {
    if (line !== waiting?.mark) return void lines.push(line);
    const { resolve } = waiting;
    waiting = null;
    resolve(lines);
    lines = [];
  });
  const gone = once(child, 'close').then(
    ([code]) => new PostgresFailure(access.redact(reasonOf(said)), code === AWAY),
    (error: unknown) => new PostgresFailure(String(error), true),
  );
  let count = 0;
  const session: PostgresSession = {
    async ask(sql) {
      signal.throwIfAborted();
      count += 1;
      const mark = `answered ${count}`;
      const answered = new Promise<string[]>((resolve) => (waiting = { mark, resolve }));
      child.stdin.write(`${sql}\n;SELECT '${mark}';\n`);
      const answer = await Promise.race([answered, gone]);
      signal.throwIfAborted();
      if (answer instanceof PostgresFailure) throw answer;
      return answer;
    },
    async feed(chunk) {
      signal.throwIfAborted();
      if (!child.stdin.destroyed && !child.stdin.write(chunk)) await Promise.race([once(child.stdin, 'drain').catch(() => gone), gone]);
    },
    async close() {
      signal.removeEventListener('abort', abort);
      // Nothing is left that would have to be heard.
      child.kill('SIGKILL');
      await gone;
    },
  };
  try {
    await session.ask(`SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0; SET lock_timeout = '60s'; ${NOTICE_END}`);
    return session;
  } catch (error) {
    await session.close();
    throw error;
  }
}

/** The first complaint, in a line. */
export function reasonOf(said: string): string {
  const lines = said.split('\n').filter((line) => line.trim() !== '');
  const [line = 'it ended'] = [...lines.filter((one) => /ERROR|FATAL|error:/.test(one)), ...lines];
  const detail = lines.find((one) => one.startsWith('DETAIL:'));
  return `${line.replace(/^psql:<stdin>:\d+: /, '')}${detail === undefined ? '' : ` ${detail}`}`.replaceAll(/\s+/g, ' ').slice(0, 500);
}
