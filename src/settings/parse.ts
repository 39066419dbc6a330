import { schema, variableNames } from './schema.ts';
import type { Settings, VariableName } from './schema.ts';
import { readEnv } from './env-file.ts';
import type { Problem } from './problem.ts';

/** Where a value came from. */
export type Origin = 'command-line' | 'file' | 'default';

/** Result of reading: settings only where there is no problem. */
export interface ParsedSettings {
  readonly settings: Settings | null;
  readonly problems: readonly Problem[];
  readonly origins: Readonly<Record<VariableName, Origin>>;
}

const PLACEHOLDER = /^(your_key|your_secret|changeme|change_me|<.*>)$/i;

/** True for an empty value or one of the guide's placeholders. */
export function isPlaceholder(value: string): boolean {
  return value === '' || PLACEHOLDER.test(value);
}

/**
 * Checks the text of `.env` and the environment (which wins) against the schema and reports all problems at once.
 * Throws nothing.
 */
export function parseSettings(text: string, environment: Readonly<Record<string, string | undefined>>): ParsedSettings {
  const { assignments, bad } = readEnv(text);
  const problems: Problem[] = bad.map((one) => ({ code: one.reason, variable: null, line: one.line, value: null, hint: null }));
  const seen = new Map<string, number>();
  for (const { name, line } of assignments) {
    const first = seen.get(name);
    if (first !== undefined) problems.push({ code: 'DUPLICATE_VARIABLE', variable: name, line, value: null, hint: String(first) });
    else if (!(name in schema)) problems.push({ code: 'UNKNOWN_VARIABLE', variable: name, line, value: null, hint: nearest(name) });
    seen.set(name, line);
  }
  const values: Partial<Record<VariableName, unknown>> = {};
  const origins = {} as Record<VariableName, Origin>;
  for (const name of variableNames) {
    const definition = schema[name];
    const inFile = assignments.find((one) => one.name === name);
    const given = environment[name];
    const source: Origin = given !== undefined && given !== '' ? 'command-line' : inFile !== undefined && inFile.value !== '' ? 'file' : 'default';
    origins[name] = source;
    const raw = source === 'command-line' ? (given ?? '') : source === 'file' ? (inFile?.value ?? '') : definition.fallback;
    const result = definition.type.safeParse(raw.trim());
    if (result.success) values[name] = result.data;
    else {
      const message = result.error.issues[0]?.message ?? '';
      const isCode = /^[A-Z_]+$/.test(message);
      const isSecret = 'isSecret' in definition && definition.isSecret;
      const options = 'options' in definition.type ? (definition.type.options as string[]).join('|') : null;
      problems.push({
        code: isCode ? message : 'NOT_ONE_OF',
        variable: name,
        line: source === 'file' ? (inFile?.line ?? null) : null,
        value: isSecret ? null : raw,
        hint: options,
      });
    }
  }
  if (problems.length > 0) return { settings: null, problems, origins };
  const settings = values as Settings;
  const crossed = crossCheck(settings, (name) => assignments.find((one) => one.name === name)?.line ?? null);
  return { settings: crossed.length === 0 ? settings : null, problems: crossed, origins };
}

function crossCheck(settings: Settings, lineOf: (name: VariableName) => number | null): Problem[] {
  const problems: Problem[] = [];
  const add = (code: string, variable: VariableName, hint: string | null = null): void => {
    problems.push({ code, variable, line: lineOf(variable), value: null, hint });
  };
  if (!isPlaceholder(settings.LIVEKIT_API_SECRET) && settings.LIVEKIT_API_SECRET.length < 32) add('SECRET_TOO_SHORT', 'LIVEKIT_API_SECRET', '32');
  if (isPlaceholder(settings.LIVEKIT_API_KEY) !== isPlaceholder(settings.LIVEKIT_API_SECRET)) add('KEY_WITHOUT_SECRET', 'LIVEKIT_API_KEY');
  if (!isPlaceholder(settings.WEBHOOK_API_KEY) && settings.WEBHOOK_API_KEY !== settings.LIVEKIT_API_KEY) add('WEBHOOK_KEY_UNKNOWN', 'WEBHOOK_API_KEY');
  if (settings.TLS_MODE === 'files' && (settings.TLS_CERT_FILE === '' || settings.TLS_KEY_FILE === '')) add('TLS_FILES_MISSING', 'TLS_MODE');
  for (const name of ['LIVEKIT_API_KEY', 'LIVEKIT_API_SECRET', 'REDIS_PASSWORD', 'SERVICE_API_TOKEN'] as const) {
    if (/[\s"'\\:#]/.test(settings[name])) add('BAD_CHARACTERS', name);
  }
  const ports = new Map<number, VariableName>();
  for (const name of variableNames) {
    if (!name.endsWith('_PORT')) continue;
    const number = settings[name] as number;
    const other = ports.get(number);
    if (other !== undefined) add('PORT_CLASH', name, other);
    ports.set(number, name);
    const { first, last } = settings.LIVEKIT_UDP_PORTS;
    if (name === 'TURN_UDP_PORT' && number >= first && number <= last) add('PORT_CLASH', name, 'LIVEKIT_UDP_PORTS');
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
