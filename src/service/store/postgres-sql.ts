import type { QueryConfig } from 'pg';
import type { Statement } from './work.ts';

/** Turns statements into PostgreSQL's own: `?` and `?1` into `$1`, and a name of its own for each text, so that a connection parses it once. */
export function createTranslator(): (statement: Statement) => QueryConfig {
  /** The texts are constants of this program: they are few. */
  const known = new Map<string, { name: string; text: string }>();
  return ({ sql, values }) => {
    let one = known.get(sql);
    if (one === undefined) {
      one = { name: `s${known.size}`, text: numbered(sql) };
      known.set(sql, one);
    }
    return { ...one, values: values.map(withoutNul) };
  };
}

/** @throws Error where `?` and `?1` are mixed: SQLite and PostgreSQL would count differently */
function numbered(sql: string): string {
  let count = 0;
  let isNumbered = false;
  const text = sql.replaceAll(/'[^']*'|\?(\d*)/g, (found, digits: string | undefined) => {
    if (digits === undefined) return found;
    isNumbered ||= digits !== '';
    return digits === '' ? `$${++count}` : `$${digits}`;
  });
  if (isNumbered && count > 0) throw new Error(`? and ?1 in one statement: ${sql}`);
  return text;
}

/** PostgreSQL's text holds every character but this one. */
function withoutNul(value: Statement['values'][number]): Statement['values'][number] {
  return typeof value === 'string' && value.includes('\0') ? value.replaceAll('\0', '\uFFFD') : value;
}
