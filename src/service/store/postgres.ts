import { setTimeout as delay } from 'node:timers/promises';
import type { ClientBase, Pool, PoolClient } from 'pg';
import { DATABASE_LANES as LANES, DATABASE_LOCK as LOCK_CLASS } from '../../contract/service-database.ts';
import { DatabaseUnavailable, SchemaError } from './database.ts';
import type { Database } from './database.ts';
import { createLanes } from './lanes.ts';
import type { Job } from './lanes.ts';
import { migrate } from './postgres-migrations.ts';
import { createTranslator } from './postgres-sql.ts';
import type { Work } from './work.ts';

/**
 * Transactions take as many as there are lanes: PostgreSQL writes the log for several at once, more of them get in each other's way. The
 * others are for reading. A server's 100 connections are enough for several services, and for people.
 */
const CONNECTIONS = 12;
/** A database that is up answers in milliseconds. */
const CONNECT_TIMEOUT_MS = 5_000;
/** What the service asks takes milliseconds, and who asked it waits: the server ends what takes so long, */
const STATEMENT_TIMEOUT_MS = 10_000;
/** and a connection on which nothing comes for longer is dead. */
const ANSWER_TIMEOUT_MS = 12_000;
/** A transaction whose service has gone lets go of what it holds. */
const IDLE_TRANSACTION_TIMEOUT_MS = 15_000;
const IDLE_CONNECTION_TIMEOUT_MS = 60_000;
/** Two that change the same: each time one of them wins. */
const ATTEMPTS = 10;
/** A server that ended comes back, or another in its place, at once or not soon. */
const ATTEMPTS_WHEN_LOST = 3;
const LONGEST_PAUSE_MS = 100;
/** A database that does not answer is asked again after this long. */
const RETRY_MS = 1_000;

/** What several services do in one lane they do one after another, so that those of one subject do not undo each other's work again and again. */
const LOCK = { name: 'lock', text: 'SELECT pg_advisory_lock($1, $2)' };
const UNLOCK = { name: 'unlock', text: 'SELECT pg_advisory_unlock($1, $2)' };
const BEGIN = 'BEGIN ISOLATION LEVEL SERIALIZABLE';
/** serialization_failure and deadlock_detected: the same again succeeds. */
const CONFLICTS: ReadonlySet<string> = new Set(['40001', '40P01']);
/** The server ends or does not let in (57, 53), takes too long (57014, 55P03), lost its disk (58), or is no primary any more (25006); 08: the connection. */
const UNAVAILABLE = /^(08|53|57|58|25006|55P03)/;
/** int8 and numeric: keys, times and counts are whole and below 2^53. */
const NUMBERS: ReadonlySet<number> = new Set([20, 1700]);

/**
 * Opens the database that a `postgres://` URL names. It may be away: it is then connected to, and its schema made, when it is first there;
 * until then everything rejects.
 * @throws SchemaError when a newer program wrote it
 */
export async function openPostgres(url: string): Promise<Database> {
  // Who uses SQLite does without.
  const pg = await import('pg');
  const pool = new pg.Pool({
    connectionString: adapted(url),
    application_name: 'livekit-fleet',
    max: CONNECTIONS,
    connectionTimeoutMillis: CONNECT_TIMEOUT_MS,
    statement_timeout: STATEMENT_TIMEOUT_MS,
    query_timeout: ANSWER_TIMEOUT_MS,
    idle_in_transaction_session_timeout: IDLE_TRANSACTION_TIMEOUT_MS,
    idleTimeoutMillis: IDLE_CONNECTION_TIMEOUT_MS,
    keepAlive: true,
    // BEGIN and the first statement go together.
    pipeline: true,
    types: {
      getTypeParser: ((oid: number, format: 'text') => (NUMBERS.has(oid) ? Number : pg.types.getTypeParser(oid, format))) as typeof pg.types.getTypeParser,
    },
  });
  // Whoever waits on a connection that is lost is told; with nobody waiting, the pool opens another.
  pool.on('error', ignore);
  pool.on('connect', (client) => void client.on('error', ignore));
  const connect = connector(pool);
  const toQuery = createTranslator();

  /** @throws what the work throws, DatabaseError, DatabaseUnavailable */
  async function run<T>(client: ClientBase, work: () => Work<T>): Promise<T> {
    const running = work();
    let step = running.next();
    while (step.done !== true) {
      const { rows, rowCount } = await client.query<Record<string, unknown>>(toQuery(step.value)).catch(raise);
      step = running.next({ rows, count: rowCount ?? 0 });
    }
    return step.value;
  }

  /** One transaction of all these, one after another. */
  async function transact(works: ReadonlyArray<() => Work<unknown>>, lane: number): Promise<unknown[]> {
    const client = await connect();
    let isUsable = false;
    try {
      // Sent together with the first statement, and answered before it.
      const begun = Promise.all([client.query({ ...LOCK, values: [LOCK_CLASS, lane] }), client.query(BEGIN)]);
      begun.catch(ignore);
      const values = [];
      for (const work of works) values.push(await run(client, work));
      await begun.catch(raise);
      await commit(client, lane);
      isUsable = true;
      return values;
    } catch (error) {
      if (!(error instanceof DatabaseUnavailable)) {
        await Promise.all([client.query('ROLLBACK'), client.query({ ...UNLOCK, values: [LOCK_CLASS, lane] })]).catch(raise);
        isUsable = true;
      }
      throw error;
    } finally {
      client.release(!isUsable);
    }
  }

  async function runAlone({ work, resolve, reject }: Job, lane: number): Promise<void> {
    for (let attempt = 1; ; attempt++) {
      try {
        resolve((await transact([work], lane))[0]);
        return;
      } catch (error) {
        if (!mayRepeat(error)) return reject(error);
        if (error instanceof DatabaseUnavailable && attempt === ATTEMPTS_WHEN_LOST) return reject(error);
        if (attempt === ATTEMPTS) return reject(new DatabaseUnavailable('too many change the same', { cause: error }));
      }
      await delay(Math.random() * Math.min(LONGEST_PAUSE_MS, 2 ** attempt));
    }
  }

  const lanes = createLanes(LANES, async (jobs, lane) => {
    if (jobs.length > 1) {
      try {
        const values = await transact(
          jobs.map(({ work }) => work),
          lane,
        );
        for (const [index, { resolve }] of jobs.entries()) resolve(values[index]);
        return;
      } catch (error) {
        // Whether they are in the database nobody knows.
        if (error instanceof DatabaseUnavailable && !mayRepeat(error)) {
          for (const { reject } of jobs) reject(error);
          return;
        }
      }
    }
    for (const job of jobs) await runAlone(job, lane);
  });
  const database: Database = {
    isShared: true,
    indexesLate: false,
    async read(work) {
      const client = await connect();
      let isUsable = false;
      try {
        const value = await run(client, work);
        isUsable = true;
        return value;
      } catch (error) {
        isUsable = !(error instanceof DatabaseUnavailable);
        throw error;
      } finally {
        client.release(!isUsable);
      }
    },
    commit: (work, subject) => lanes.add(work, subject),
    async close() {
      await lanes.idle();
      await pool.end();
    },
  };
  await connect().then((client) => client.release(), refuseNewer);
  return database;
}

/** Gives connections to a database whose schema is this program's: it is brought there by the first that is made. */
function connector(pool: Pool): () => Promise<PoolClient> {
  let isMigrated = false;
  let migrating: Promise<void> | null = null;
  const bring = async (): Promise<void> => {
    const client = await pool.connect();
    try {
      await migrate(client);
      isMigrated = true;
    } finally {
      client.release(!isMigrated);
    }
  };
  return async () => {
    try {
      if (!isMigrated)
        await (migrating ??= bring().finally(() => void delay(isMigrated ? 0 : RETRY_MS, undefined, { ref: false }).then(() => (migrating = null))));
      return await pool.connect();
    } catch (error) {
      throw error instanceof SchemaError ? error : unavailable(error);
    }
  };
}

async function commit(client: ClientBase, lane: number): Promise<void> {
  const both = Promise.all([client.query('COMMIT'), client.query({ ...UNLOCK, values: [LOCK_CLASS, lane] })]);
  const [{ command }] = await both.catch((error: unknown) => {
    const known = classify(error);
    throw known instanceof DatabaseUnavailable ? new UnknownOutcome(known.message, { cause: error }) : known;
  });
  if (command !== 'COMMIT') throw new Error(`the transaction ended with ${command}`);
}

/** The connection was lost while the change was committed. */
class UnknownOutcome extends DatabaseUnavailable {}

/** A connection that could not be made. */
class NotConnected extends DatabaseUnavailable {}

function raise(error: unknown): never {
  throw classify(error);
}

/** What is no word of the server's about a statement is about the connection. */
function classify(error: unknown): unknown {
  const code = codeOf(error);
  return code.length === 5 && !UNAVAILABLE.test(code) ? error : new DatabaseUnavailable(`PostgreSQL: ${code || 'connection lost'}`, { cause: error });
}

function unavailable(error: unknown): NotConnected {
  return new NotConnected(`PostgreSQL: ${codeOf(error) || 'not reachable'}`, { cause: error });
}

/** SQLSTATE, or the operating system's name of an error; empty where there is none. */
function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error && typeof error.code === 'string' ? error.code : '';
}

/** Nothing was changed, and the same may succeed at once. */
function mayRepeat(error: unknown): boolean {
  if (error instanceof DatabaseUnavailable) return !(error instanceof UnknownOutcome || error instanceof NotConnected);
  return CONFLICTS.has(codeOf(error));
}

function refuseNewer(error: unknown): void {
  if (error instanceof SchemaError) throw error;
}

function ignore(): void {}

/**
 * `sslmode` means what it means to psql and pg_dump, which take the same URL. Tables are read by their indexes even while they are small:
 * who reads a whole table is in the way of everyone who writes to it (PostgreSQL, 13.2.3).
 */
function adapted(url: string): string {
  const parsed = new URL(url);
  parsed.searchParams.set('uselibpqcompat', 'true');
  parsed.searchParams.set('options', `${parsed.searchParams.get('options') ?? ''} -c enable_seqscan=off`.trim());
  return parsed.href;
}
