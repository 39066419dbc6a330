/** Characters that take two columns of a terminal: those that Unicode calls wide or fullwidth (UAX #11), as far as our texts and people's names have them. */
const WIDE =
  /[\u1100-\u115F\u2E80-\u303E\u3041-\u33FF\u3400-\u4DBF\u4E00-\u9FFF\uA000-\uA4CF\uAC00-\uD7A3\uF900-\uFAFF\uFE30-\uFE6F\uFF00-\uFF60\uFFE0-\uFFE6\u{1F300}-\u{1FAFF}\u{20000}-\u{3FFFD}]/u;

/** How many columns of a terminal a text takes. */
export function widthOf(text: string): number {
  return [...text].reduce((sum, character) => sum + (/\p{Mark}/u.test(character) ? 0 : WIDE.test(character) ? 2 : 1), 0);
}

/** The text with spaces behind it, up to so many columns. */
export function padColumns(text: string, columns: number): string {
  return text + ' '.repeat(Math.max(0, columns - widthOf(text)));
}

/** A line for each row, its cells below those of the others, two spaces between. Of numbers (`right`) the last digits stand below each other. */
export function alignRows(rows: ReadonlyArray<readonly string[]>, { right = [] }: { right?: readonly number[] } = {}): string[] {
  const widths: number[] = [];
  for (const row of rows) for (const [at, cell] of row.entries()) widths[at] = Math.max(widths[at] ?? 0, widthOf(cell));
  return rows.map((row) =>
    row
      .map((cell, at) => {
        const columns = widths[at] ?? 0;
        return right.includes(at) ? ' '.repeat(columns - widthOf(cell)) + cell : padColumns(cell, columns);
      })
      .join('  ')
      .trimEnd(),
  );
}
