import { expect, it } from 'vitest';
import { describeBytes } from '../../src/report/bytes.ts';
import { alignRows, widthOf } from '../../src/report/columns.ts';

it.each([
  ['', 0],
  ['abc', 3],
  ['已停用', 6],
  ['「a」', 5],
  ['✓ ok …', 6],
  ['e\u0301', 1],
  ['한글', 4],
])('%j takes %i columns', (text, columns) => {
  expect(widthOf(text)).toBe(columns);
});

it('cells stand below each other, also Chinese ones, and numbers end below each other', () => {
  const rows = [
    ['m1', '正常', '9 B', 'x'],
    ['m22', '已停用 a', '27.3 kB', ''],
  ];
  expect(alignRows(rows, { right: [2] })).toEqual(['m1   正常          9 B  x', 'm22  已停用 a  27.3 kB']);
  expect(alignRows([])).toEqual([]);
});

it.each([
  [0, '0 B'],
  [999, '999 B'],
  [1_000, '1.0 kB'],
  [27_340, '27.3 kB'],
  [999_949, '999.9 kB'],
  [999_950, '1.0 MB'],
  [1_500_000_000, '1.5 GB'],
  [2 ** 60, '1152921.5 TB'],
])('%i bytes are %s', (bytes, text) => {
  expect(describeBytes(bytes)).toBe(text);
});
