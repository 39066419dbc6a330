import { isProblemCode } from '../kernel/messages/translate.ts';
import type { ProblemCode } from '../kernel/messages/en.ts';
import { readEnv, toHalfWidth } from './env-file.ts';
import type { Assignment } from './env-file.ts';
import { findClashes } from './port-clash.ts';
import type { Problem } from './problem.ts';
import { schema, variableNames } from './schema.ts';
import type { Settings, VariableName } from './schema.ts';
import { LONGEST_PASSWORD } from './variable.ts';

/** Where a value came from. */
export type Origin = 'command-line' | 'file' | 'default';

/** Result of reading: settings only where there is no problem. */
export interface ParsedSettings {
  readonly settings: Settings | null;
  readonly problems: readonly Problem[];
  readonly origins: Readonly<Record<VariableName, Origin>>;
}

/** What LiveKit asks of an API secret's length. */
const SHORTEST_SECRET = 32;
/** Hints of problems with a value's length. */
const LIMITS: Readonly<Partial<Record<ProblemCode, string>>> = { PASSWORD_TOO_LONG: String(LONGEST_PASSWORD) };
const PLACEHOLDER = /^(your_key|your_secret|changeme|change_me|<.*>)$/i;

/** True for an empty value or one of the guide's placeholders. */
export function isPlaceholder(value: string): boolean {
  return value === '' || PLACEHOLDER.test(value);
}

/**
 * Checks the text of `.env` and the environment (which wins) against the schema and reports all problems at once,
 * those of the command line first, then by line.
 * Throws nothing.
 */
export function parseSettings(text: string, environment: Readonly<Record<string, string | undefined>>): ParsedSettings {
  const { assignments, bad } = readEnv(text);
  const problems: Problem[] = bad.map((one) => ({ code: one.reason, variable: null, line: one.line, value: null, hint: null }));
  const inFile = new Map<string, Assignment>();
  for (const one of assignments) {
    const first = inFile.get(one.name);
    const about = { variable: one.name, line: one.line, value: null };
    if (first !== undefined) problems.push({ ...about, code: 'DUPLICATE_VARIABLE', hint: String(first.line) });
    else inFile.set(one.name, one);
    if (first === undefined && !Object.hasOwn(schema, one.name)) {
      const hint = nearest(one.name);
      problems.push({ ...about, code: hint === null ? 'UNKNOWN_VARIABLE' : 'MISSPELT_VARIABLE', hint });
    }
  }
  const values: Partial<Record<VariableName, unknown>> = {};
  const origins = {} as Record<VariableName, Origin>;
  const lineOf = (name: VariableName): number | null => (origins[name] === 'file' ? (inFile.get(name)?.line ?? null) : null);
  for (const name of variableNames) {
    const given = toHalfWidth(environment[name] ?? '').trim();
    const written = inFile.get(name)?.value.trim() ?? '';
    origins[name] = given !== '' ? 'command-line' : written !== '' ? 'file' : 'default';
    const raw = given || written || schema[name].fallback;
    const result = schema[name].type.safeParse(raw);
    if (result.success) values[name] = result.data;
    else problems.push({ ...describe(name, result.error.issues[0]?.message ?? ''), variable: name, line: lineOf(name), value: shown(name, raw) });
  }
  problems.push(...crossCheck(values as Partial<Settings>, { origins, lineOf }));
  const sorted = problems.toSorted((a, b) => (a.line ?? 0) - (b.line ?? 0));
  return { settings: problems.length === 0 ? (values as Settings) : null, problems: sorted, origins };
}

function describe(name: VariableName, message: string): { code: ProblemCode; hint: string | null } {
  const { type } = schema[name];
  if (!isProblemCode(message)) return { code: 'NOT_ONE_OF', hint: 'options' in type ? (type.options as string[]).join('|') : null };
  return { code: message, hint: LIMITS[message] ?? null };
}

/** The value as a problem may show it: no secret, no user and password of a URL. */
function shown(name: VariableName, raw: string): string | null {
  const definition = schema[name];
  return 'isSecret' in definition ? null : raw.replace(/\/\/[^/@\s]*@/g, '//[redacted]@');
}

/** What only shows when values are seen together; a value that has a problem of its own takes no part. */
function crossCheck(
  settings: Partial<Settings>,
  { origins, lineOf }: { origins: Readonly<Record<VariableName, Origin>>; lineOf: (name: VariableName) => number | null },
): Problem[] {
  const problems: Problem[] = [];
  const add = (code: ProblemCode, variable: VariableName, more: { hint?: string; value?: string } = {}): void => {
    problems.push({ code, variable, line: lineOf(variable), value: more.value ?? null, hint: more.hint ?? null });
  };
  const { LIVEKIT_API_KEY: key, LIVEKIT_API_SECRET: secret, WEBHOOK_API_KEY: webhookKey } = settings;
  if (secret !== undefined && !isPlaceholder(secret) && secret.length < SHORTEST_SECRET)
    add('SECRET_TOO_SHORT', 'LIVEKIT_API_SECRET', { hint: String(SHORTEST_SECRET) });
  if (key !== undefined && secret !== undefined && isPlaceholder(key) !== isPlaceholder(secret)) {
    add('KEY_WITHOUT_SECRET', isPlaceholder(key) ? 'LIVEKIT_API_SECRET' : 'LIVEKIT_API_KEY');
  }
  // Machine 1 may know the key that signs webhooks before it has joined the fleet whose key that is.
  if (key !== undefined && webhookKey !== undefined && [key, webhookKey].every((one) => !isPlaceholder(one)) && webhookKey !== key)
    add('WEBHOOK_KEY_UNKNOWN', 'WEBHOOK_API_KEY');
  if (settings.TLS_MODE === 'files' && (settings.TLS_CERT_FILE === '' || settings.TLS_KEY_FILE === '')) add('TLS_FILES_MISSING', 'TLS_MODE');
  if (settings.TURN_DOMAIN !== undefined && settings.TURN_DOMAIN !== '' && (settings.TURN_CERT_FILE === '' || settings.TURN_KEY_FILE === ''))
    add('TURN_FILES_MISSING', 'TURN_DOMAIN');
  const keys = (['AUTH_JWKS_URL', 'AUTH_JWKS_FILE'] as const).filter((name) => (settings[name] ?? '') !== '');
  if (keys.length > 1) add('AUTH_KEYS_TWICE', 'AUTH_JWKS_FILE');
  for (const hint of ['AUTH_ISSUER', 'AUTH_AUDIENCE'] as const) if (keys[0] !== undefined && settings[hint] === '') add('AUTH_INCOMPLETE', keys[0], { hint });
  for (const clash of findClashes(settings)) {
    // The value that a person wrote is the one to change.
    const [variable, other] = origins[clash.variable] === 'default' ? [clash.other, clash.variable] : [clash.variable, clash.other];
    add('PORT_CLASH', variable, { hint: other, value: String(clash.port) });
  }
  return problems;
}

/** The known name with the smallest edit distance, at most 4 edits away; else null. */
function nearest(name: string): string | null {
  let best: { name: string; distance: number } | null = null;
  for (const known of variableNames) {
    const distance = editDistance(name.toUpperCase(), known);
    if (distance <= 4 && (best === null || distance < best.distance)) best = { name: known, distance };
  }
  return best?.name ?? null;
}

function editDistance(a: string, b: string): number {
  let row = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let i = 1; i <= a.length; i++) {
    const next = [i];
    for (let j = 1; j <= b.length; j++) {
      next.push(Math.min((row[j] ?? 0) + 1, (next[j - 1] ?? 0) + 1, (row[j - 1] ?? 0) + (a[i - 1] === b[j - 1] ? 0 : 1)));
    }
    row = next;
  }
  return row[b.length] ?? 0;
}
