import * as z from 'zod';
import type { ProblemCode } from '../kernel/messages/en.ts';

/** One documented variable: the schema is validator, manual and `.env.example` at once. */
export interface Variable<T> {
  /** Checks and converts the text; issue messages are ProblemCodes. */
  readonly type: z.ZodType<T, string>;
  /** Text used when the variable is missing or empty. */
  readonly fallback: string;
  readonly group: 'guide' | 'tls' | 'ports' | 'paths' | 'mirrors' | 'service' | 'backup' | 'operation';
  readonly zh: string;
  readonly en: string;
  readonly isSecret?: boolean;
}

/** The issue message of a refinement: a code that both catalogues have. */
const says = (code: ProblemCode): ProblemCode => code;

const DOMAIN_LABELS = /^(?=.{1,253}$)[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?(\.[a-z0-9]([a-z0-9-]{0,61}[a-z0-9])?)*$/i;
const IPV4 = /^(25[0-5]|2[0-4]\d|1?\d?\d)(\.(25[0-5]|2[0-4]\d|1?\d?\d)){3}$/;

/** True for dotted IPv4 text. */
export function isIpv4(text: string): boolean {
  return IPV4.test(text);
}

/** True for a host name or an IPv4 address. */
export function isHost(text: string): boolean {
  return /^[\d.]+$/.test(text) ? isIpv4(text) : DOMAIN_LABELS.test(text);
}

/** Any text, trimmed by the reader. */
export const text = z.string();

/** Text that is an API key, a password or a token: what every configuration file and header holds without quoting. */
export const credential = z.string().refine((value) => /^[!-~]*$/.test(value) && !/["'\\:#]/.test(value), says('BAD_CHARACTERS'));

/** Redis 6.0 and before refuse a longer one, and print it (config.c, CONFIG_AUTHPASS_MAX_LEN). */
export const LONGEST_PASSWORD = 512;

/** The password of Redis and Sentinel. */
export const password = credential.refine((value) => value.length <= LONGEST_PASSWORD, says('PASSWORD_TOO_LONG'));

/** A system user's name. */
export const user = z.string().regex(/^[a-z_][a-z0-9_-]{0,30}$/, says('NOT_A_USER'));

/** A host name or IPv4 address. */
export const host = z.string().refine(isHost, says('NOT_A_HOST'));

/** Blocks that no host in the Internet has (RFC 6890), but for those of documentation. */
const INNER = [
  /^0\./,
  /^10\./,
  /^100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7])\./,
  /^127\./,
  /^169\.254\./,
  /^172\.(1[6-9]|2\d|3[01])\./,
  /^192\.168\./,
  /^198\.1[89]\./,
  /^(22[4-9]|2[3-5]\d)\./,
];

/** Whether an IPv4 address can be one of the Internet. */
export function isPublic(address: string): boolean {
  return isIpv4(address) && !INNER.some((block) => block.test(address));
}

/** A host name or the empty text. */
export const optionalHost = z.string().refine((value) => value === '' || isHost(value), says('NOT_A_HOST'));

/** `auto`, `none` or an IPv4 address. */
export const publicAddress = z.string().refine((value) => value === 'auto' || value === 'none' || isIpv4(value), says('NOT_A_PUBLIC_ADDRESS'));

/** A TCP or UDP port, 1 to 65535. */
export const port = z
  .string()
  .refine((value) => /^\d{1,5}$/.test(value) && Number(value) >= 1 && Number(value) <= 65_535, says('NOT_A_PORT'))
  .transform(Number);

/** A positive whole number. */
export const count = z
  .string()
  .refine((value) => /^[1-9]\d{0,8}$/.test(value), says('NOT_A_COUNT'))
  .transform(Number);

const UNITS: Readonly<Record<string, number>> = { m: 60, h: 3_600, d: 86_400 };

/** `off`, or a whole number of minutes, hours or days such as `12h`; gives seconds, 0 for `off`. */
export const interval = z
  .string()
  .refine((value) => value === 'off' || /^[1-9]\d{0,3}[mhd]$/.test(value), says('NOT_AN_INTERVAL'))
  .transform((value) => (value === 'off' ? 0 : Number(value.slice(0, -1)) * (UNITS[value.slice(-1)] ?? 0)));

/** `true|false`, also `yes|no|1|0|on|off`. */
export const flag = z
  .string()
  .refine((value) => /^(true|false|yes|no|1|0|on|off)$/i.test(value), says('NOT_A_FLAG'))
  .transform((value) => /^(true|yes|1|on)$/i.test(value));

/** `first-last`, two ports. */
export const portRange = z
  .string()
  .refine((value) => {
    const match = /^(\d{1,5})-(\d{1,5})$/.exec(value);
    return match !== null && Number(match[1]) >= 1024 && Number(match[1]) < Number(match[2]) && Number(match[2]) <= 65_535;
  }, says('NOT_A_PORT_RANGE'))
  .transform((value) => {
    const [first, last] = value.split('-').map(Number);
    return { first: first ?? 0, last: last ?? 0 };
  });

/** A path that every configuration file and unit can hold without quoting; in Caddy's, braces would be a placeholder's. */
const ABSOLUTE = /^(\/[^\s/"'\\$%{}]+)+\/?$/;

/** An absolute path or the empty text. */
export const optionalPath = z.string().refine((value) => value === '' || ABSOLUTE.test(value), says('NOT_ABSOLUTE'));

/** An absolute path. */
export const rootPath = z.string().refine((value) => ABSOLUTE.test(value), says('NOT_ABSOLUTE'));

/** An http(s) URL or the empty text. */
export const optionalUrl = z.string().refine((value) => value === '' || isHttpUrl(value), says('NOT_A_URL'));

/** An absolute path, `s3://bucket/prefix` or the empty text. */
export const backupPlace = z.string().refine((value) => value === '' || ABSOLUTE.test(value) || isS3(value), says('NOT_A_BACKUP_PLACE'));

/** Whether a text names a bucket, and perhaps a prefix in it (naming rules of S3). */
export function isS3(value: string): boolean {
  return /^s3:\/\/[a-z0-9][a-z0-9.-]{1,61}[a-z0-9](\/[A-Za-z0-9._=@+-]+)*\/?$/.test(value);
}

/** An https URL, or an http one inside a private network; or the empty text. */
export const optionalSecureUrl = optionalUrl.refine((value) => {
  if (!value.startsWith('http:')) return true;
  const { hostname } = new URL(value);
  return hostname === 'localhost' || (isIpv4(hostname) ? !isPublic(hostname) : !hostname.includes('.') || /\.(local|lan|internal)$/.test(hostname));
}, says('NOT_A_SECURE_URL'));

/** `auto` or an IPv4 address. */
export const bindAddress = z.string().refine((value) => value === 'auto' || isIpv4(value), says('NOT_A_BIND_ADDRESS'));

/** A whole number, 0 for no limit. */
export const rate = z
  .string()
  .refine((value) => /^(0|[1-9]\d{0,6})$/.test(value), says('NOT_A_RATE'))
  .transform(Number);

/** Comma-separated origins (`https://app.example.com`, as browsers send them), or `*`. */
export const origins = z
  .string()
  .refine((value) => list(value).every((one) => one === '*' || (isHttpUrl(one) && new URL(one).origin === one)), says('NOT_AN_ORIGIN'))
  .transform(list);

/** A `postgres://` URL with a database's name, or the empty text. */
export const optionalDatabase = z.string().refine((value) => value === '' || isPostgresUrl(value), says('NOT_A_DATABASE'));

/** Comma-separated http(s) URLs. */
export const urls = z
  .string()
  .refine((value) => list(value).every(isHttpUrl), says('NOT_A_URL'))
  .transform(list);

/** `localhost`, or comma-separated, different IPv4 addresses. */
export const nodes = z
  .string()
  .refine((value) => list(value).length > 0 && (value === 'localhost' || list(value).every(isIpv4)), says('NOT_NODES'))
  .refine((value) => new Set(list(value)).size === list(value).length, says('DUPLICATE_NODES'))
  .transform(list);

/** `host:port` or the empty text. */
export const optionalUpstream = z.string().refine((value) => {
  if (value === '') return true;
  const [name = '', number = '', ...rest] = value.split(':');
  return rest.length === 0 && isHost(name) && port.safeParse(number).success;
}, says('NOT_AN_UPSTREAM'));

/** Comma-separated `host:port`. */
export const endpoints = z
  .string()
  .refine((value) => list(value).every((one) => optionalUpstream.safeParse(one).success), says('NOT_AN_UPSTREAM'))
  .transform((value) => list(value).map((one) => ({ host: one.split(':')[0] ?? '', port: Number(one.split(':')[1]) })));

function isHttpUrl(value: string): boolean {
  return /^https?:\/\/[^\s/]\S*$/.test(value) && URL.canParse(value);
}

function isPostgresUrl(value: string): boolean {
  return /^postgres(ql)?:\/\/[!-~]+$/.test(value) && URL.canParse(value) && new URL(value).pathname.length > 1;
}

function list(value: string): string[] {
  return value
    .split(',')
    .map((one) => one.trim())
    .filter((one) => one !== '');
}
