import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdtemp, open, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { SERVICE_FUNCTIONS, SERVICE_TABLES, VERSION_TABLE } from '../contract/service-database.ts';
import { PostgresFailure, reasonOf } from './postgres-session.ts';
import type { Postgres } from './postgres-session.ts';

/** A part of what makes of a dump a database again. */
export type ScriptPart =
  | { readonly kind: 'sql'; readonly text: string }
  /** Rows of a table, each a line, up to the line that ends them. They must be read to their end before the next part is asked for. */
  | { readonly kind: 'rows'; readonly head: string; readonly schema: string; readonly table: string; rows(): AsyncGenerator<Buffer> };

const KEPT_BYTES = 4_096;
/** Statements of the service's tables take a hundredth of it. */
const LONGEST_SQL = 1024 * 1024;
const NAME = '("(?:[^"]|"")+"|[^\\s".]+)';
const COPY = new RegExp(`^COPY ${NAME}\\.${NAME} \\(.*\\) FROM stdin;$`);
const END = Buffer.from('\\.\n');
const LINE_END = 10;

/** What the service's tables are made of, in pg_dump's words. */
const KINDS = ['TABLE', 'TABLE DATA', 'SEQUENCE', 'SEQUENCE OWNED BY', 'SEQUENCE SET', 'DEFAULT', 'CONSTRAINT', 'INDEX', 'TRIGGER'];
/** `dumpId; catalogue oid KIND schema name owner`, where schema and owner may have any character but a line's end. */
const VERSION_ENTRY = new RegExp(`^\\d+; \\d+ \\d+ TABLE (.+) ${VERSION_TABLE} .`);

/** Of a dump's list, the lines with what is the service's: all of it is in one schema. */
function entriesOf(list: string): string[] {
  const lines = list.split('\n');
  const schema = lines.map((line) => VERSION_ENTRY.exec(line)?.[1]).find((found) => found !== undefined);
  if (schema === undefined) return [];
  const place = schema.replaceAll(/[.*+?^${}()|[\]\\]/g, String.raw`\$&`);
  const functions = `FUNCTION ${place} (?:${SERVICE_FUNCTIONS.join('|')})\\(\\) `;
  const entry = new RegExp(`^\\d+; \\d+ \\d+ (?:(?:${KINDS.join('|')}) ${place} (?:${SERVICE_TABLES.join('|')})\\S* |${functions})`);
  return lines.filter((line) => entry.test(line));
}

/**
 * Reads a dump as the script that pg_restore makes of it, from its first byte to its last: the service's tables alone, whatever else
 * the dump has. Owners and grants are left to whoever runs it.
 * @throws PostgresFailure where pg_restore finds fault with it
 */
export async function* readDump(postgres: Pick<Postgres, 'tools' | 'user'>, path: string): AsyncGenerator<ScriptPart> {
  const listed: Buffer[] = [];
  for await (const chunk of runRestore(postgres, path, ['--list'])) listed.push(chunk);
  const entries = entriesOf(Buffer.concat(listed).toString());
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-dump-`);
  try {
    // Who reads it is not root; it names tables and nothing else.
    await chmod(folder, 0o755);
    await writeFile(`${folder}/list`, `${entries.join('\n')}\n`, { mode: 0o644 });
    const words = ['--no-owner', '--no-privileges', '--no-comments', '--no-security-labels', '--no-tablespaces', `--use-list=${folder}/list`, '--file=-'];
    yield* readScript(runRestore(postgres, path, words));
  } finally {
    await rm(folder, { recursive: true });
  }
}

/** Rows by table, and the schemas in which they are, of a dump that is read to its end. @throws PostgresFailure */
export async function countDump(postgres: Pick<Postgres, 'tools' | 'user'>, path: string): Promise<{ rows: Record<string, number>; schemas: string[] }> {
  const rows: Record<string, number> = {};
  const schemas = new Set<string>();
  for await (const part of readDump(postgres, path)) {
    if (part.kind === 'sql') continue;
    schemas.add(part.schema);
    let count = 0;
    for await (const chunk of part.rows()) for (let at = chunk.indexOf(LINE_END); at !== -1; at = chunk.indexOf(LINE_END, at + 1)) count += 1;
    rows[part.table] = (rows[part.table] ?? 0) + count;
  }
  return { rows, schemas: [...schemas] };
}

/** Cuts a script of pg_dump's into statements and rows. @throws PostgresFailure where it is none */
export async function* readScript(chunks: AsyncIterable<Buffer>): AsyncGenerator<ScriptPart> {
  const iterator = chunks[Symbol.asyncIterator]();
  // Whoever ends early lets go of the program that writes.
  await using _ = { [Symbol.asyncDispose]: async () => void (await iterator.return?.(undefined)) };
  let rest: Buffer = Buffer.alloc(0);
  const more = async (): Promise<boolean> => {
    const next = await iterator.next();
    if (next.done === true) return false;
    rest = rest.length === 0 ? next.value : Buffer.concat([rest, next.value]);
    return true;
  };
  /** What is left begins with a line's beginning, here and after. */
  async function* rows(): AsyncGenerator<Buffer> {
    for (;;) {
      const end = rest.subarray(0, END.length).equals(END) ? 0 : rest.indexOf(`\n${END.toString()}`) + 1;
      const isEnd = end > 0 || rest.subarray(0, END.length).equals(END);
      // What may be the beginning of the line that ends them waits for more.
      const whole = isEnd ? end : rest.lastIndexOf(LINE_END) + 1;
      if (whole > 0) yield rest.subarray(0, whole);
      rest = rest.subarray(isEnd ? whole + END.length : whole);
      if (isEnd) return;
      if (!(await more())) throw new PostgresFailure('its rows end too early', false);
    }
  }
  let sql = '';
  for (;;) {
    const end = rest.indexOf(LINE_END);
    if (end === -1) {
      if (rest.length > LONGEST_SQL || sql.length > LONGEST_SQL) throw new PostgresFailure('a statement is too long', false);
      if (await more()) continue;
      if (rest.length > 0) throw new PostgresFailure('its last statement ends too early', false);
      if (sql !== '') yield { kind: 'sql', text: sql };
      return;
    }
    const line = rest.subarray(0, end).toString();
    rest = rest.subarray(end + 1);
    const [, schema = '', table = ''] = COPY.exec(line) ?? [];
    if (table === '') sql += isForServer(line) ? `${line}\n` : '';
    else {
      if (sql !== '') yield { kind: 'sql', text: sql };
      sql = '';
      let isRead = false;
      const read = async function* (): AsyncGenerator<Buffer> {
        yield* rows();
        isRead = true;
      };
      yield { kind: 'rows', head: `${line}\n`, schema: unquoted(schema), table: unquoted(table), rows: read };
      if (!isRead) throw new Error(`${table} was not read to its end`);
    }
  }
}

/**
 * Comments say nothing, newer programs set limits that older servers do not know, and `\restrict` (PostgreSQL 17.6 and its like) is for psql.
 * Of the service's tables, no statement has a backslash: psql would take it for an order to itself.
 */
function isForServer(line: string): boolean {
  if (line.startsWith('--') || /^SET \w+_timeout = 0;$/.test(line) || /^\\(?:un)?restrict \w+$/.test(line)) return false;
  if (line.includes('\\')) throw new PostgresFailure('a statement with a backslash', false);
  return true;
}

function unquoted(name: string): string {
  return name.startsWith('"') ? name.slice(1, -1).replaceAll('""', '"') : name;
}

/** What pg_restore writes; it runs as a user without rights, who gets the dump already open. */
async function* runRestore({ tools, user }: Pick<Postgres, 'tools' | 'user'>, path: string, words: readonly string[]): AsyncGenerator<Buffer> {
  await using file = await open(path);
  const child = spawn(`${tools.folder}/pg_restore`, words, {
    uid: user.uid,
    gid: user.gid,
    cwd: '/',
    env: { LANG: 'C', PATH: '/usr/bin:/bin' },
    stdio: [file.fd, 'pipe', 'pipe'],
  });
  let said = '';
  child.stderr?.on('data', (text: Buffer) => (said = (said + text.toString()).slice(0, KEPT_BYTES)));
  const closed = once(child, 'close').catch((error: unknown) => [String(error)]);
  try {
    yield* child.stdout as AsyncIterable<Buffer>;
    const [code] = await closed;
    if (code !== 0) throw new PostgresFailure(reasonOf(said), false);
  } finally {
    child.kill('SIGKILL');
    await closed;
  }
}
