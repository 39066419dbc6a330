import * as z from 'zod';
import { DATABASE_LANES, DATABASE_LOCK, SERVICE_FUNCTIONS, SERVICE_TABLES, VERSION_TABLE } from '../contract/service-database.ts';
import { FleetError } from '../kernel/errors.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { accessOf } from './postgres-access.ts';
import { PostgresFailure, openSession } from './postgres-session.ts';
import type { Postgres, PostgresSession } from './postgres-session.ts';
import { requireTools } from './postgres-tools.ts';

const factsSchema = z.object({
  /** Major version of the server. */
  server: z.int(),
  /** Where the service has its tables; null where the search path leads nowhere. */
  schema: z.string().nullable(),
  mayCreate: z.boolean().nullable(),
  /** Those of the service that are there. */
  tables: z.array(z.object({ name: z.string(), bytes: z.int(), isOwned: z.boolean() })),
  /** What else is in the schema. */
  others: z.array(z.string()),
  /** What others than the owner may do with the service's tables, as statements. */
  grants: z.array(z.string()),
  /** What of others stands on the service's tables and keeps them from being replaced (views, foreign keys), in PostgreSQL's words. */
  users: z.array(z.string()),
});

/** What is in a database. */
export type PostgresFacts = z.infer<typeof factsSchema>;

const listOf = (names: readonly string[]): string => `ARRAY[${names.map((name) => `'${name}'`).join(', ')}]`;
const OURS = listOf(SERVICE_TABLES);
/**
 * Sequences of the service's tables are theirs (pg_depend: of a column, or of an identity). With a table goes all that depends on it
 * automatically or is within it; what depends on that and does not go itself keeps it from being dropped (PostgreSQL 5.14, 53.18).
 */
const FACTS = `
WITH RECURSIVE place AS (SELECT oid, nspname FROM pg_namespace WHERE nspname = current_schema()),
  ours AS (SELECT c.* FROM pg_class c JOIN place ON c.relnamespace = place.oid WHERE c.relname = ANY (${OURS}) AND c.relkind IN ('r', 'p')),
  sequences AS (SELECT s.* FROM pg_class s JOIN pg_depend d ON d.objid = s.oid AND d.deptype IN ('a', 'i') AND d.classid = 'pg_class'::regclass
    JOIN ours ON ours.oid = d.refobjid WHERE s.relkind = 'S'),
  goes AS (SELECT 'pg_class'::regclass::oid AS class, oid FROM ours
    UNION SELECT 'pg_proc'::regclass::oid, p.oid FROM pg_proc p JOIN place ON p.pronamespace = place.oid WHERE p.proname = ANY (${listOf(SERVICE_FUNCTIONS)})
    UNION SELECT d.classid, d.objid FROM pg_depend d JOIN goes ON d.refclassid = goes.class AND d.refobjid = goes.oid WHERE d.deptype <> 'n'),
  users AS (SELECT DISTINCT d.classid, d.objid FROM pg_depend d JOIN goes ON d.refclassid = goes.class AND d.refobjid = goes.oid
    WHERE d.deptype = 'n' AND (d.classid, d.objid) NOT IN (SELECT class, oid FROM goes))
SELECT json_build_object(
  'server', current_setting('server_version_num')::int / 10000,
  'schema', current_schema(),
  'mayCreate', (SELECT has_schema_privilege(oid, 'CREATE') FROM place),
  'tables', (SELECT coalesce(json_agg(json_build_object('name', relname, 'bytes', pg_table_size(oid), 'isOwned', pg_has_role(relowner, 'USAGE'))), '[]') FROM ours),
  'users', (SELECT coalesce(json_agg(DISTINCT pg_describe_object(coalesce(v.class, u.classid), coalesce(v.oid, u.objid), 0)), '[]') FROM users u
    LEFT JOIN LATERAL (SELECT 'pg_class'::regclass::oid AS class, ev_class AS oid FROM pg_rewrite WHERE u.classid = 'pg_rewrite'::regclass AND oid = u.objid) v ON true),
  'others', (SELECT coalesce(json_agg(c.relname), '[]') FROM pg_class c JOIN place ON c.relnamespace = place.oid
    WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f', 'S') AND c.oid NOT IN (SELECT oid FROM ours UNION SELECT oid FROM sequences)),
  'grants', (SELECT coalesce(json_agg(format('GRANT %s ON %s %I.%I TO %s%s', a.privilege_type, c.kind, place.nspname, c.relname,
      CASE a.grantee WHEN 0 THEN 'PUBLIC' ELSE quote_ident(pg_get_userbyid(a.grantee)) END, CASE WHEN a.is_grantable THEN ' WITH GRANT OPTION' ELSE '' END)), '[]')
    FROM (SELECT 'TABLE' AS kind, relname, relacl, relowner FROM ours UNION ALL SELECT 'SEQUENCE', relname, relacl, relowner FROM sequences) c,
      place, aclexplode(c.relacl) a WHERE a.grantee <> c.relowner));`;

/** Looks at what is there. @throws PostgresFailure */
export async function readFacts(session: PostgresSession): Promise<PostgresFacts> {
  const text = (await session.ask(FACTS)).join('');
  const facts = parseJson(factsSchema, text);
  if (facts === null) throw new PostgresFailure(`an answer that is none: ${text.slice(0, 100)}`, false);
  return facts;
}

/** Rows by table, and the version of the tables, as of the transaction. @throws PostgresFailure */
export async function countTables(session: PostgresSession, { schema, tables }: PostgresFacts): Promise<{ schema: number; rows: Record<string, number> }> {
  const place = identifier(schema ?? '');
  const rows: Record<string, number> = {};
  for (const { name } of tables) rows[name] = Number((await session.ask(`SELECT count(*) FROM ${place}.${identifier(name)}`))[0]);
  const hasVersion = tables.some(({ name }) => name === VERSION_TABLE);
  const version = hasVersion ? (await session.ask(`SELECT version FROM ${place}.${VERSION_TABLE}`))[0] : undefined;
  return { schema: Number(version ?? 0), rows };
}

/** Waits until no service changes rows or tables, and keeps it so until the transaction ends. @throws PostgresFailure */
export async function lockServices(session: PostgresSession): Promise<void> {
  await session.ask(`SELECT pg_advisory_xact_lock(${DATABASE_LOCK})`);
  for (let lane = 0; lane < DATABASE_LANES; lane++) await session.ask(`SELECT pg_advisory_xact_lock(${DATABASE_LOCK}, ${lane})`);
}

/**
 * Finds the programs for a database, and what is in it.
 * @throws FleetError DATABASE_UNREACHABLE, DATABASE_CLIENT_MISSING, DATABASE_CLIENT_OLD; the signal's reason
 */
export async function reachPostgres(
  url: string,
  { user, signal }: { user: Postgres['user']; signal: AbortSignal },
): Promise<{ postgres: Postgres; facts: PostgresFacts }> {
  const access = accessOf(url);
  let facts: PostgresFacts | null = null;
  const tools = await requireTools(async (found) => {
    if (found === null) return majorOf(url);
    facts = await explainFailure(access.address, () => withSession({ tools: found, access, user }, signal, readFacts));
    return facts.server;
  });
  const postgres = { tools, access, user };
  return { postgres, facts: facts ?? (await explainFailure(access.address, () => withSession(postgres, signal, readFacts))) };
}

/** Works with a connection. @throws PostgresFailure; what the work throws */
export async function withSession<T>(postgres: Postgres, signal: AbortSignal, work: (session: PostgresSession) => Promise<T>): Promise<T> {
  const session = await openSession(postgres, signal);
  try {
    return await work(session);
  } finally {
    await session.close();
  }
}

/** A name in a statement, whatever is in it. */
export function identifier(name: string): string {
  return `"${name.replaceAll('"', '""')}"`;
}

async function explainFailure<T>(address: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (!(error instanceof PostgresFailure)) throw error;
    throw new FleetError('DATABASE_UNREACHABLE', { address, reason: error.message }, { cause: error });
  }
}

/** The server's version, by the service's own client, where PostgreSQL's programs are missing; null where it does not say it. */
async function majorOf(url: string): Promise<number | null> {
  const pg = await import('pg');
  const parsed = new URL(url);
  parsed.searchParams.set('uselibpqcompat', 'true');
  try {
    const client = new pg.Client({ connectionString: parsed.href, connectionTimeoutMillis: 5_000 });
    client.on('error', () => undefined);
    await client.connect();
    const { rows } = await client.query<{ server_version_num: string }>('SHOW server_version_num');
    await client.end();
    return Math.floor(Number(rows[0]?.server_version_num) / 10_000) || null;
  } catch {
    // What is wrong there is said once the programs are here.
    return null;
  }
}
