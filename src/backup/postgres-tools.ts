import { execFile } from 'node:child_process';
import { existsSync, globSync } from 'node:fs';
import { promisify } from 'node:util';
import { FleetError } from '../kernel/errors.ts';

/** PostgreSQL's own programs: pg_dump, pg_restore and psql of one version. */
export interface PostgresTools {
  readonly folder: string;
  readonly major: number;
}

/** Where packages put them, by version; the wrappers that Debian has in /usr/bin choose a version by rules of their own. */
const FOLDERS = ['/usr/lib/postgresql/*/bin', '/usr/pgsql-*/bin', '/usr/local/pgsql/bin'];
const OTHERS = ['/usr/local/bin', '/usr/bin'];
const NAMES = ['pg_dump', 'pg_restore', 'psql'];
const VERSION_MS = 10_000;

/** The newest of this machine; null where there are none. */
async function findTools(): Promise<PostgresTools | null> {
  const found = await Promise.all([...globSync(FOLDERS), ...OTHERS].map(async (folder) => ({ folder, major: await versionIn(folder) })));
  return found.flatMap(({ folder, major }) => (major === null ? [] : [{ folder, major }])).toSorted((a, b) => b.major - a.major)[0] ?? null;
}

async function versionIn(folder: string): Promise<number | null> {
  if (!NAMES.every((name) => existsSync(`${folder}/${name}`))) return null;
  const run = promisify(execFile)(`${folder}/pg_dump`, ['--version'], { timeout: VERSION_MS, env: { LANG: 'C' } });
  // Debian's wrapper is there without any version as well.
  const { stdout } = await run.catch(() => ({ stdout: '' }));
  const major = /\(PostgreSQL\) (\d+)/.exec(stdout)?.[1];
  return major === undefined ? null : Number(major);
}

/**
 * Programs of this version or a newer one: an older pg_dump refuses a server, an older pg_restore what a newer pg_dump wrote.
 * @param needed asks for the version; null where nobody knows it
 * @throws FleetError DATABASE_CLIENT_MISSING, DATABASE_CLIENT_OLD, what `needed` throws
 */
export async function requireTools(needed: (tools: PostgresTools | null) => Promise<number | null>): Promise<PostgresTools> {
  const tools = await findTools();
  const major = await needed(tools);
  const name = `postgresql-client${major === null ? '' : `-${major}`}`;
  if (tools === null) throw new FleetError('DATABASE_CLIENT_MISSING', { package: name }, { exitCode: 2 });
  if (major !== null && tools.major < major) throw new FleetError('DATABASE_CLIENT_OLD', { found: tools.major, needed: major, package: name }, { exitCode: 2 });
  return tools;
}
