import type { ProblemCode } from '../kernel/messages/en.ts';

/** One assignment of a `.env` text: 1-based line, name and value without quotes. */
export interface Assignment {
  readonly line: number;
  readonly name: string;
  readonly value: string;
}

/** A line that is neither blank, comment nor assignment. */
export interface BadLine {
  readonly line: number;
  readonly reason: ProblemCode & ('NOT_AN_ASSIGNMENT' | 'UNCLOSED_QUOTE' | 'TEXT_AFTER_QUOTE');
}

/** A value and the half-open range of its characters, quotes included, in its line. */
interface Found {
  readonly value: string;
  readonly start: number;
  readonly end: number;
}

const ASSIGNMENT = /^\uFEFF?\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=/;
const LINE_END = /(\r\n|\n|\r)/;

/**
 * Reads a `.env` text line by line. Accepts a BOM, CRLF, spaces round `=`, single or double quotes, trailing comments,
 * `export`, and full-width forms in the place of ASCII ones (input methods leave them behind).
 */
export function readEnv(text: string): { assignments: Assignment[]; bad: BadLine[] } {
  const assignments: Assignment[] = [];
  const bad: BadLine[] = [];
  for (const [index, raw] of text.split(/\r\n|\n|\r/).entries()) {
    const line = index + 1;
    const source = toHalfWidth(raw);
    if (/^\uFEFF?\s*(#|$)/.test(source)) continue;
    const match = ASSIGNMENT.exec(source);
    const found = match === null ? 'NOT_AN_ASSIGNMENT' : findValue(source, match[0].length);
    if (typeof found === 'string') bad.push({ line, reason: found });
    else assignments.push({ line, name: match?.[1] ?? '', value: found.value });
  }
  return { assignments, bad };
}

/**
 * Sets variables in a `.env` text and keeps every other byte: comments (also those behind the value), order, line ends.
 * The last assignment of a name is replaced in place; a name that is not there is appended.
 * @throws RangeError for a value that this grammar cannot hold: a line end, both kinds of quotes, full-width forms
 */
export function editEnv(text: string, values: Readonly<Record<string, string>>): string {
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  // Even entries are lines, odd ones the line ends between them.
  const pieces = text.split(LINE_END);
  const { assignments } = readEnv(text);
  for (const [name, value] of Object.entries(values)) {
    const last = assignments.findLast((one) => one.name === name);
    if (last !== undefined) {
      const at = (last.line - 1) * 2;
      pieces[at] = replaceValue(pieces[at] ?? '', quote(value));
    } else if (pieces.at(-1) === '') pieces.splice(-1, 0, `${name}=${quote(value)}`, eol);
    else pieces.push(eol, `${name}=${quote(value)}`, eol, '');
  }
  return pieces.join('');
}

function replaceValue(line: string, written: string): string {
  const source = toHalfWidth(line);
  const found = findValue(source, ASSIGNMENT.exec(source)?.[0].length ?? 0);
  if (typeof found === 'string') return line;
  const rest = line.slice(found.end);
  return `${line.slice(0, found.start)}${written}${/^\S/.test(rest) ? ' ' : ''}${rest}`;
}

/**
 * Full-width forms (U+FF01–FF5E), ideographic full stop, comma and space as ASCII; curly quotes as straight ones.
 * One character for one: places in the result are places in the source.
 */
export function toHalfWidth(source: string): string {
  return source
    .replace(/[\uFF01-\uFF5E]/g, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0))
    .replaceAll('。', '.')
    .replaceAll('、', ',')
    .replace(/[\u3000\u00A0\u200B]/g, ' ')
    .replace(/[“”]/g, '"')
    .replace(/[‘’]/g, "'");
}

/** The value that begins somewhere after `from`, which is the place behind `=`. */
function findValue(source: string, from: number): Found | BadLine['reason'] {
  const behind = source.slice(from);
  const start = from + (behind.length - behind.trimStart().length);
  const mark = source[start];
  if (mark === '"' || mark === "'") {
    const close = source.indexOf(mark, start + 1);
    if (close === -1) return 'UNCLOSED_QUOTE';
    if (!/^\s*(#|$)/.test(source.slice(close + 1))) return 'TEXT_AFTER_QUOTE';
    return { value: source.slice(start + 1, close), start, end: close + 1 };
  }
  const value = behind
    .trim()
    .replace(/(^|\s+)#.*$/, '')
    .trim();
  return value === '' ? { value, start: from, end: from } : { value, start, end: start + value.length };
}

function quote(value: string): string {
  const written = /^[A-Za-z0-9_./:,@+=-]*$/.test(value) ? value : value.includes('"') ? `'${value}'` : `"${value}"`;
  const back = readEnv(`A=${written}`).assignments;
  if (back.length !== 1 || back[0]?.value !== value) throw new RangeError('not a value that .env can hold');
  return written;
}
