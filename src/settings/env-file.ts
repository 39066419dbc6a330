/** One assignment of a `.env` text: 1-based line, name and value without quotes. */
export interface Assignment {
  readonly line: number;
  readonly name: string;
  readonly value: string;
}

/** A line that is neither blank, comment nor assignment. */
export interface BadLine {
  readonly line: number;
  readonly reason: 'NOT_AN_ASSIGNMENT' | 'UNCLOSED_QUOTE';
}

const ASSIGNMENT = /^\s*(?:export\s+)?([A-Za-z_][A-Za-z0-9_]*)\s*=(.*)$/;

/**
 * Reads a `.env` text line by line. Accepts a BOM, CRLF, spaces round `=`, single or double quotes, trailing comments and
 * full-width `＝`, spaces, quotes and digits in the place of ASCII ones (input methods leave them behind).
 */
export function readEnv(text: string): { assignments: Assignment[]; bad: BadLine[] } {
  const assignments: Assignment[] = [];
  const bad: BadLine[] = [];
  for (const [index, raw] of text
    .replace(/^\uFEFF/, '')
    .split(/\r\n|\n|\r/)
    .entries()) {
    const line = index + 1;
    const source = toHalfWidth(raw);
    if (/^\s*(#|$)/.test(source)) continue;
    const match = ASSIGNMENT.exec(source);
    if (match === null) {
      bad.push({ line, reason: 'NOT_AN_ASSIGNMENT' });
      continue;
    }
    const value = readValue(match[2] ?? '');
    if (value === null) bad.push({ line, reason: 'UNCLOSED_QUOTE' });
    else assignments.push({ line, name: match[1] ?? '', value });
  }
  return { assignments, bad };
}

/**
 * Sets variables in a `.env` text and keeps everything else byte for byte: comments, order, line ends.
 * The last assignment of a name is replaced in place; a name that is not there is appended.
 */
export function editEnv(text: string, values: Readonly<Record<string, string>>): string {
  const eol = text.includes('\r\n') ? '\r\n' : '\n';
  const lines = text.split(/\r\n|\n|\r/);
  const { assignments } = readEnv(text);
  for (const [name, value] of Object.entries(values)) {
    const written = `${name}=${quote(value)}`;
    const last = assignments.filter((one) => one.name === name).at(-1);
    if (last !== undefined) lines[last.line - 1] = written;
    else if (lines.at(-1) === '') lines.splice(-1, 0, written);
    else lines.push(written, '');
  }
  return lines.join(eol);
}

/** Full-width forms (U+FF01–FF5E) and the ideographic space as ASCII; curly quotes as straight ones. */
function toHalfWidth(source: string): string {
  return source
    .replace(/[\uFF01-\uFF5E]/g, (char) => String.fromCharCode(char.charCodeAt(0) - 0xfee0))
    .replace(/[\u3000\u00A0]/g, ' ')
    .replace(/[“”]/g, '"')
    .replace(/[‘’]/g, "'");
}

function readValue(rest: string): string | null {
  const trimmed = rest.trim();
  const mark = trimmed[0];
  if (mark === '"' || mark === "'") {
    const end = trimmed.indexOf(mark, 1);
    return end === -1 ? null : trimmed.slice(1, end);
  }
  return trimmed.replace(/(^|\s+)#.*$/, '').trim();
}

function quote(value: string): string {
  return /^[A-Za-z0-9_./:,@+=-]*$/.test(value) ? value : value.includes('"') ? `'${value}'` : `"${value}"`;
}
