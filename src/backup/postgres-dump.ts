import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { open, statfs } from 'node:fs/promises';
import { FleetError } from '../kernel/errors.ts';
import type { DatabaseCounts } from './format.ts';
import { countTables, identifier, readFacts, withSession } from './postgres-facts.ts';
import type { PostgresFacts } from './postgres-facts.ts';
import { KEEPALIVE, PostgresFailure, reasonOf } from './postgres-session.ts';
import type { Postgres, PostgresSession } from './postgres-session.ts';

const LOOK_MS = 1_000;
/** Less is no space for what programs write at a time. */
const FULL_BYTES = 128 * 1024;
const KEPT_BYTES = 4_096;

/**
 * Has pg_dump write the service's tables as of one moment, while services go on, and counts what they hold at that moment: both read the
 * same snapshot (PostgreSQL 9.28.5, pg_export_snapshot).
 * @throws FleetError BACKUP_DATABASE_FAILED, DISK_FULL; the signal's reason
 */
export async function dumpDatabase(
  postgres: Postgres,
  { to, signal, onProgress }: { to: string; signal: AbortSignal; onProgress: (percent: number) => void },
): Promise<DatabaseCounts> {
  try {
    return await withSession(postgres, signal, async (session) => {
      await session.ask('BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY');
      const facts = await readFacts(session);
      const counts = await countTables(session, facts);
      await dumpTables(postgres, { session, facts, to, signal, onProgress });
      return { ...counts, madeWith: postgres.tools.major };
    });
  } catch (error) {
    if (!(error instanceof PostgresFailure)) throw error;
    throw new FleetError('BACKUP_DATABASE_FAILED', { address: postgres.access.address, reason: error.message }, { cause: error });
  }
}

/**
 * Has pg_dump write what a transaction sees of the service's tables.
 * @param options.session stands in that transaction
 * @param options.to is made, and on the disk itself after
 * @throws PostgresFailure; FleetError DISK_FULL; the signal's reason
 */
export async function dumpTables(
  { tools, access, user }: Postgres,
  options: { session: PostgresSession; facts: PostgresFacts; to: string; signal: AbortSignal; onProgress: (percent: number) => void },
): Promise<void> {
  const { session, facts, to, signal, onProgress } = options;
  const [snapshot = ''] = await session.ask('SELECT pg_export_snapshot()');
  const place = identifier(facts.schema ?? '');
  const excluded = facts.others.map((name) => `--exclude-table=${place}.${identifier(name)}`);
  // What compresses the archive does it better.
  const words = [
    KEEPALIVE,
    '--format=custom',
    '--compress=0',
    '--no-password',
    '--lock-wait-timeout=60s',
    `--snapshot=${snapshot}`,
    `--schema=${place}`,
    ...excluded,
  ];
  const total = facts.tables.reduce((sum, { bytes }) => sum + bytes, 0);
  await using file = await open(to, 'wx', 0o600);
  // It writes into a file that is open already: bytes that pass through here would take twice as long.
  const stdio = ['ignore', file.fd, 'pipe'] as const;
  const child = spawn(`${tools.folder}/pg_dump`, words, { uid: user.uid, gid: user.gid, cwd: '/', env: { ...access.env }, stdio: [...stdio] });
  let said = '';
  child.stderr?.on('data', (text: Buffer) => (said = (said + text.toString()).slice(0, KEPT_BYTES)));
  const abort = (): void => void child.kill('SIGKILL');
  signal.addEventListener('abort', abort, { once: true });
  const look = setInterval(() => {
    // Tables take more room than their rows.
    void file.stat().then(
      ({ size }) => onProgress(Math.min(99, Math.floor((size / Math.max(1, total)) * 100))),
      () => undefined,
    );
  }, LOOK_MS);
  const [code] = (await once(child, 'close').catch((error: unknown) => [String(error)])) as unknown[];
  clearInterval(look);
  signal.removeEventListener('abort', abort);
  signal.throwIfAborted();
  if (code === 0) return file.sync();
  const { bavail, bsize } = await statfs(to);
  throw bavail * bsize < FULL_BYTES ? new FleetError('DISK_FULL', { path: to }) : new PostgresFailure(access.redact(reasonOf(said)), false);
}
