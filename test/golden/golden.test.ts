import { globSync, readFileSync } from 'node:fs';
import { mkdir, rm, writeFile } from 'node:fs/promises';
import { dirname } from 'node:path';
import { describe, expect, it } from 'vitest';
import { desireCase } from './render.ts';

const cases = globSync('*/.env', { cwd: import.meta.dirname })
  .map((path) => dirname(path))
  .toSorted();

/** Path → text of everything below `expected`; `tree.txt` holds mode, owner and path of each file. */
function renderTree(name: string): Map<string, string> {
  const { desired } = desireCase(name);
  const files = desired.files.filter((file) => !file.path.endsWith('.js'));
  const rows = files.map((file) => `${file.mode.toString(8).padStart(4, '0')} ${file.owner.padEnd(7)} ${file.ownership.kind.padEnd(6)} ${file.path}\n`);
  return new Map([['tree.txt', rows.toSorted().join('')], ...files.map((file) => [file.path.slice(1), file.content] as const)]);
}

function readTree(folder: string): Map<string, string> {
  const paths = globSync('**/*', { cwd: folder, withFileTypes: true }).filter((entry) => entry.isFile());
  return new Map(paths.map((entry) => `${entry.parentPath}/${entry.name}`).map((path) => [path.slice(folder.length + 1), readFileSync(path, 'utf8')]));
}

async function writeTree(folder: string, tree: ReadonlyMap<string, string>): Promise<void> {
  await rm(folder, { recursive: true, force: true });
  for (const [path, text] of tree) {
    await mkdir(dirname(`${folder}/${path}`), { recursive: true });
    await writeFile(`${folder}/${path}`, text);
  }
}

// To accept a change: GOLDEN=update npx vitest run test/golden, and read the diff.
describe('the files that a .env asks for', () => {
  it('has a case for each way to run it', () => {
    expect(cases.length).toBeGreaterThan(6);
  });

  it.each(cases)('%s', async (name) => {
    const folder = `${import.meta.dirname}/${name}/expected`;
    const tree = renderTree(name);
    if (process.env['GOLDEN'] === 'update') await writeTree(folder, tree);
    const expected = readTree(folder);
    expect([...tree.keys()].toSorted()).toEqual([...expected.keys()].toSorted());
    for (const [path, text] of tree) expect(text, path).toBe(expected.get(path));
  });
});
