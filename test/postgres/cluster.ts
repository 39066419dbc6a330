import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, globSync, readFileSync } from 'node:fs';
import { chmod, chown, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import pg from 'pg';
import { freePorts, until } from '../e2e/installation.ts';
import { needPrograms } from '../debian-packages.ts';

export const password = 'p@ss word/of?the#tests%41';

/** A PostgreSQL of its own, in a temporary folder and on a free port. */
export interface Cluster {
  /** Of the superuser's database. */
  readonly url: string;
  readonly folder: string;
  readonly port: number;
  /** Makes an empty database; gives its URL. */
  createDatabase(name: string): Promise<string>;
  dropDatabase(name: string): Promise<void>;
  ask(sql: string): Promise<Record<string, unknown>[]>;
  /** Makes NAME.crt and NAME.key in `folder`, for 127.0.0.1 and the server's user. */
  makeCertificate(name: string): Promise<void>;
  start(): Promise<void>;
  /** Ends it and all its processes at once, as a power cut would. */
  kill(): Promise<void>;
  stop(): Promise<void>;
  remove(): Promise<void>;
}

interface ClusterOptions {
  readonly lines?: readonly string[];
  readonly authentication?: 'scram-sha-256' | 'trust';
}

const CREATE_CLUSTER = '/etc/postgresql-common/createcluster.conf';

/** @param options.lines of postgresql.conf; @param options.authentication as initdb takes it: `trust` asks for no password */
export async function createCluster({ lines = [], authentication = 'scram-sha-256' }: ClusterOptions = {}): Promise<Cluster> {
  const bin = await programs();
  const folder = await mkdtemp('/tmp/livekit-fleet-postgres-');
  // It refuses to run as root.
  const owner: { uid?: number; gid?: number } = process.getuid?.() === 0 ? accountOf('postgres') : {};
  await chmod(folder, 0o755);
  if (owner.uid !== undefined && owner.gid !== undefined) await chown(folder, owner.uid, owner.gid);
  await writeFile(`${folder}/password`, password, { mode: 0o644 });
  const data = `${folder}/data`;
  const words = ['-D', data, '-U', 'owner', '-A', authentication, `--pwfile=${folder}/password`, '-E', 'UTF8', '--locale=C.UTF-8', '--no-sync'];
  await execa(`${bin}/initdb`, words, { ...owner, cwd: folder });
  const [port = 0] = await freePorts(1);
  await writeFile(
    `${data}/postgresql.auto.conf`,
    [`port = ${port}`, `listen_addresses = '127.0.0.1'`, `unix_socket_directories = '${folder}'`, ...lines].join('\n'),
  );
  let server: ChildProcess | null = null;
  const urlOf = (database: string): string => `postgres://owner:${encodeURIComponent(password)}@127.0.0.1:${port}/${database}`;
  const ask = async (sql: string, database = 'postgres'): Promise<Record<string, unknown>[]> => {
    const client = new pg.Client({ connectionString: urlOf(database), connectionTimeoutMillis: 5_000 });
    client.on('error', () => undefined);
    await client.connect();
    try {
      return (await client.query<Record<string, unknown>>(sql)).rows;
    } finally {
      await client.end();
    }
  };
  const end = async (signal: 'SIGINT' | 'SIGQUIT' | 'SIGKILL'): Promise<void> => {
    if (server === null) return;
    const [child, ended] = [server, once(server, 'exit')];
    server = null;
    if (signal === 'SIGKILL') for (const pid of childrenOf(child.pid ?? 0)) killIfThere(pid);
    child.kill(signal);
    await ended;
  };
  return {
    folder,
    port,
    url: urlOf('postgres'),
    ask,
    async createDatabase(name) {
      await ask(`CREATE DATABASE "${name}"`);
      return urlOf(name);
    },
    dropDatabase: async (name) => void (await ask(`DROP DATABASE "${name}" WITH (FORCE)`)),
    async makeCertificate(name) {
      const request = 'req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=127.0.0.1 -addext subjectAltName=IP:127.0.0.1';
      await execa('openssl', [...request.split(' '), '-keyout', `${name}.key`, '-out', `${name}.crt`], { cwd: folder });
      await chmod(`${folder}/${name}.key`, 0o600);
      if (owner.uid !== undefined && owner.gid !== undefined) await chown(`${folder}/${name}.key`, owner.uid, owner.gid);
    },
    async start() {
      server = spawn(`${bin}/postgres`, ['-D', data], { ...owner, cwd: folder, stdio: 'ignore' });
      await until(
        () =>
          ask('SELECT 1').then(
            () => true,
            () => false,
          ),
        60_000,
      );
    },
    kill: () => end('SIGKILL'),
    stop: () => end('SIGINT'),
    async remove() {
      await end('SIGQUIT');
      await rm(folder, { recursive: true, force: true });
    },
  };
}

/** Folder of PostgreSQL's programs, from Debian's package; the package's own cluster is not made. */
async function programs(): Promise<string> {
  if (findServer() === undefined) {
    if (!existsSync(CREATE_CLUSTER)) {
      await execa('mkdir', ['-p', '/etc/postgresql-common']);
      await writeFile(CREATE_CLUSTER, 'create_main_cluster = false\n');
    }
    // The server itself is in no folder of programs.
    await needPrograms({ pg_ctlcluster: 'postgresql' });
  }
  const found = findServer();
  if (found === undefined) throw new Error('there is no PostgreSQL');
  return found.slice(0, found.lastIndexOf('/'));
}

function findServer(): string | undefined {
  return globSync('/usr/lib/postgresql/*/bin/postgres').toSorted().at(-1);
}

function accountOf(name: string): { uid: number; gid: number } {
  const [, , uid, gid] =
    readFileSync('/etc/passwd', 'utf8')
      .split('\n')
      .find((line) => line.startsWith(`${name}:`))
      ?.split(':') ?? [];
  if (uid === undefined || gid === undefined) throw new Error(`there is no user ${name}`);
  return { uid: Number(uid), gid: Number(gid) };
}

/** Some of the children come and go by themselves. */
function killIfThere(pid: number): void {
  try {
    process.kill(pid, 'SIGKILL');
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error.code === 'ESRCH')) throw error;
  }
}

function childrenOf(pid: number): number[] {
  return readFileSync(`/proc/${pid}/task/${pid}/children`, 'utf8')
    .split(' ')
    .filter((one) => one !== '')
    .map(Number);
}
