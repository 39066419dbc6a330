/** How PostgreSQL's programs reach the database that the service uses, in the way in which the service does. */
export interface PostgresAccess {
  /** For people: without the password. */
  readonly address: string;
  /** libpq's variables: the password is in none of the words of a command, which everybody on the machine can read. */
  readonly env: Readonly<Record<string, string>>;
  /** Takes the password out of what a program said. */
  redact(text: string): string;
}

const CONNECT_SECONDS = '10';
/** Of the URL's parameters, those that the service's client takes as libpq does; by libpq's variable. */
const PARAMETERS = { PGOPTIONS: 'options', PGSSLROOTCERT: 'sslrootcert', PGSSLCERT: 'sslcert', PGSSLKEY: 'sslkey' } as const;

/** @param url `postgres://…`, as DATABASE_URL has it */
export function accessOf(url: string): PostgresAccess {
  const parsed = new URL(url);
  const said = parsed.searchParams;
  const host = (said.get('host') ?? decodeURIComponent(parsed.hostname)).replaceAll(/^\[|\]$/g, '');
  const port = said.get('port') ?? (parsed.port || '5432');
  const user = said.get('user') ?? decodeURIComponent(parsed.username);
  const password = said.get('password') ?? decodeURIComponent(parsed.password);
  const database = decodeURIComponent(parsed.pathname.slice(1)) || user;
  // The service's client encrypts only where it is told to; libpq by itself would try.
  const isPlain = !said.has('sslmode') && !['1', 'true'].includes(said.get('ssl') ?? '');
  const env: Record<string, string> = {
    LANG: 'C',
    PATH: '/usr/bin:/bin',
    PGHOST: host || 'localhost',
    PGPORT: port,
    PGUSER: user,
    PGDATABASE: database,
    PGPASSWORD: password,
    PGSSLMODE: said.get('sslmode') ?? (isPlain ? 'disable' : 'verify-full'),
    PGGSSENCMODE: 'disable',
    PGCONNECT_TIMEOUT: CONNECT_SECONDS,
    PGAPPNAME: 'livekit-fleet-backup',
    PGCLIENTENCODING: 'UTF8',
  };
  for (const [name, parameter] of Object.entries(PARAMETERS)) env[name] = said.get(parameter) ?? '';
  if (!isPlain && !said.has('sslmode')) env['PGSSLROOTCERT'] = 'system';
  const filled = Object.fromEntries(Object.entries(env).filter(([, value]) => value !== ''));
  const redact = (text: string): string => (password === '' ? text : text.replaceAll(password, '[redacted]'));
  return { address: `${host.includes(':') ? `[${host}]` : host}:${port}/${database}`, env: filled, redact };
}
