import fc from 'fast-check';
import { describe, expect, it } from 'vitest';
import { editEnv, readEnv } from '../../src/settings/env-file.ts';

const values = (text: string): Record<string, string> => Object.fromEntries(readEnv(text).assignments.map((one) => [one.name, one.value]));

describe('readEnv', () => {
  it.each([
    ['BOM and CRLF', '\uFEFFA=1\r\nB=2\r\n', { A: '1', B: '2' }],
    ['quotes', `A="two words"\nB='it is "so"'\nC=""`, { A: 'two words', B: 'it is "so"', C: '' }],
    ['spaces round =', '  A =  1 \n', { A: '1' }],
    ['export', 'export A=1\n', { A: '1' }],
    ['comments', '# A=0\nA=1 # one\nB="x # y" # two\nC=a#b\nD=# none\n  # E=5\n', { A: '1', B: 'x # y', C: 'a#b', D: '' }],
    ['full-width equals, digits, colon, comma, stops, space', 'A＝１２\nB=h：８０，i。j、k\nC　=　1', { A: '12', B: 'h:80,i.j,k', C: '1' }],
    ['curly quotes', 'A=“a b”\nB=‘c’', { A: 'a b', B: 'c' }],
    ['lone CR', 'A=1\rB=2', { A: '1', B: '2' }],
    ['Chinese', 'A=会议\n', { A: '会议' }],
    ['a URL with = and #', 'A=https://h/x?y=1#z', { A: 'https://h/x?y=1#z' }],
  ])('reads %s', (_, text, expected) => {
    expect(readEnv(text).bad).toEqual([]);
    expect(values(text)).toEqual(expected);
  });

  it.each([
    ['just words', 'NOT_AN_ASSIGNMENT'],
    ['1A=2', 'NOT_AN_ASSIGNMENT'],
    ['A B=2', 'NOT_AN_ASSIGNMENT'],
    ['A="open', 'UNCLOSED_QUOTE'],
    [`A="x'`, 'UNCLOSED_QUOTE'],
    ['A="a"b', 'TEXT_AFTER_QUOTE'],
  ])('refuses %s', (text, reason) => {
    expect(readEnv(`# first\n${text}`)).toEqual({ assignments: [], bad: [{ line: 2, reason }] });
  });
});

const name = fc.constantFrom('A', 'B', 'C', 'LIVEKIT_API_KEY');
const space = fc.constantFrom('', ' ', '  ', '\t', '　');
const comment = fc.constantFrom('', ' # 注释', '  #tail', ' # “引号”');
const written = fc.oneof(
  fc.constantFrom('', '１２', '"two words"', "'x # y'", '“curly”', 'a,b', 'http://h:1/x#y', '值'),
  fc.stringMatching(/^[A-Za-z0-9_./:@-]{1,12}$/),
);
const assignment = fc.tuple(fc.constantFrom('', 'export '), name, space, fc.constantFrom('=', '＝'), space, written, comment).map((parts) => parts.join(''));
const line = fc.oneof(assignment, fc.constantFrom('', '# 注释', '  ', 'not an assignment', '＃ full-width'));
/** Lines with line ends of every kind, also mixed, with and without a BOM and a final line end. */
const envText = fc
  .tuple(fc.constantFrom('', '\uFEFF'), fc.array(fc.tuple(line, fc.constantFrom('\n', '\r\n', '\r'))), fc.boolean())
  .map(([bom, lines, hasEnd]) => bom + lines.map(([text, end], index) => text + (hasEnd || index < lines.length - 1 ? end : '')).join(''));
/** What `.env` can hold: anything on one line but full-width forms and both kinds of quotes. */
const value = fc.oneof(fc.stringMatching(/^[ -~]{0,24}$/), fc.stringMatching(/^[ -~值é#]{0,8}$/)).filter((text) => !(text.includes('"') && text.includes("'")));

describe('editEnv', () => {
  it('sets the value; every other assignment stays (property)', () => {
    fc.assert(
      fc.property(envText, name, value, (text, key, wanted) => {
        const edited = editEnv(text, { [key]: wanted });
        const before = readEnv(text);
        const after = readEnv(edited);
        expect(after.assignments.findLast((one) => one.name === key)?.value).toBe(wanted);
        expect(after.bad).toEqual(before.bad);
        const last = before.assignments.findLast((one) => one.name === key);
        expect(after.assignments.filter((one) => (last === undefined ? one.name !== key : one.line !== last.line))).toEqual(
          before.assignments.filter((one) => one !== last),
        );
        expect(editEnv(edited, { [key]: wanted })).toBe(edited);
      }),
      { numRuns: 500 },
    );
  });

  it('keeps every byte before and behind the value (property)', () => {
    const old = written.filter((text) => text !== '');
    const parts = fc.record({
      before: envText,
      start: fc.constantFrom('TARGET', 'export TARGET'),
      gap: space,
      equals: fc.constantFrom('=', '＝'),
      old,
      comment,
      after: envText,
    });
    fc.assert(
      fc.property(parts, value, (given, wanted) => {
        const head = `${given.before}\n${given.start}${given.gap}${given.equals}${given.gap}`;
        const tail = `${given.comment}\n${given.after.replace('\uFEFF', '')}`;
        const edited = editEnv(`${head}${given.old}${tail}`, { TARGET: wanted });
        expect(edited.startsWith(head)).toBe(true);
        expect(edited.endsWith(tail)).toBe(true);
        expect([wanted, `"${wanted}"`, `'${wanted}'`]).toContain(edited.slice(head.length, edited.length - tail.length));
      }),
      { numRuns: 500 },
    );
  });

  it.each([
    ['keeps the comment behind a value', 'LIVEKIT_API_KEY=your_key   # 密钥\r\nB=2', 'LIVEKIT_API_KEY=new   # 密钥\r\nB=2'],
    ['keeps the comment behind an empty value', 'LIVEKIT_API_KEY=# 密钥\n', 'LIVEKIT_API_KEY=new # 密钥\n'],
    ['keeps BOM and full-width equals', '\uFEFFLIVEKIT_API_KEY＝“旧”\n', '\uFEFFLIVEKIT_API_KEY＝new\n'],
    ['appends behind a last line without an end', 'A=1', 'A=1\nLIVEKIT_API_KEY=new\n'],
    ['appends with the line ends of the file', 'A=1\r\n', 'A=1\r\nLIVEKIT_API_KEY=new\r\n'],
    ['writes into an empty text', '', 'LIVEKIT_API_KEY=new\n'],
    ['replaces the last of two', 'LIVEKIT_API_KEY=a\nLIVEKIT_API_KEY=b\n', 'LIVEKIT_API_KEY=a\nLIVEKIT_API_KEY=new\n'],
  ])('%s', (_, text, expected) => {
    expect(editEnv(text, { LIVEKIT_API_KEY: 'new' })).toBe(expected);
  });

  it.each(['a\nb', `"'`, '１'])('refuses a value that the file cannot hold: %j', (bad) => {
    expect(() => editEnv('A=1', { A: bad })).toThrow(RangeError);
  });
});
