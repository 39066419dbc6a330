import { execa } from 'execa';
import { globSync, readFileSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { z } from 'zod';

const root = resolve(import.meta.dirname, '../..');

/** What each folder of src may import besides itself and packages: the direction of the architecture. */
const DIRECTIONS: Readonly<Record<string, readonly string[]>> = {
  kernel: [],
  contract: ['kernel'],
  settings: ['kernel'],
  topology: ['kernel', 'settings'],
  render: ['kernel', 'contract', 'settings', 'topology'],
  plan: ['kernel', 'settings', 'topology', 'render'],
  components: ['kernel'],
  bundle: ['kernel', 'components'],
  clients: ['kernel', 'contract'],
  host: ['kernel'],
  supervisor: ['kernel', 'settings', 'topology', 'render', 'host'],
  health: ['kernel', 'settings', 'topology', 'host', 'supervisor', 'clients'],
  apply: ['kernel', 'contract', 'settings', 'topology', 'render', 'plan', 'host', 'supervisor', 'health', 'clients'],
  backup: ['kernel', 'contract', 'settings', 'topology', 'render', 'bundle', 'clients', 'host', 'apply'],
  agent: ['kernel', 'contract', 'clients'],
  service: ['kernel', 'contract', 'clients'],
  meeting: ['kernel', 'contract', 'clients'],
  drill: ['kernel', 'contract', 'clients', 'meeting'],
  report: ['kernel', 'settings'],
  cli: [
    'kernel',
    'contract',
    'settings',
    'topology',
    'render',
    'plan',
    'components',
    'bundle',
    'backup',
    'clients',
    'host',
    'supervisor',
    'health',
    'apply',
    'report',
  ],
};
const folders = Object.keys(DIRECTIONS);
/** Folders that do no input or output. */
const PURE = ['kernel', 'contract', 'settings', 'topology', 'render', 'plan'];
const INPUT_OUTPUT = ['node:fs', 'node:fs/promises', 'fs', 'node:child_process', 'node:net', 'node:http', 'node:os', 'execa'];
/** Folders whose `main.ts` is a composition root; of `cli` every file is. */
const ROOTS = ['cli', 'agent', 'service', 'meeting', 'drill'];
const OUTSIDE_ROOTS = ['process.env.HOME', 'process.exit(1)', 'process.stdout.isTTY', 'Date.now()', "console.log('x')"];

const report = z.object({ diagnostics: z.array(z.object({ code: z.string(), filename: z.string() })) });

/** Every way to import, one a line. */
const importing = (from: string): string =>
  [
    `import { a } from '${from}';`,
    `import type { B } from '${from}';`,
    `export { c } from '${from}';`,
    `export * from '${from}';`,
    'export const used = [a, null as B | null];',
    '',
  ].join('\n');
const WAYS = 4;

/** Deliberately bad (and good) sources below a copy of our own lint configuration, checked by the real oxlint in one go. */
describe('the lint configuration', () => {
  let place: string;
  const sources = new Map<string, string>();
  /** Codes that oxlint gave, by file. */
  const found = new Map<string, string[]>();
  const count = (file: string, rule: string): number => (found.get(file) ?? []).filter((code) => code.includes(rule)).length;

  beforeAll(async () => {
    place = await mkdtemp(`${tmpdir()}/livekit-fleet-lint-`);
    for (const folder of folders) {
      for (const other of folders.filter((one) => one !== folder)) {
        sources.set(`src/${folder}/to-${other}.ts`, importing(`../${other}/x.ts`));
        sources.set(`src/${folder}/deep/to-${other}.ts`, importing(`../../${other}/deep/x.ts`));
        sources.set(`src/${folder}/deep/er/to-${other}.ts`, importing(`./../../../${other}/x.ts`));
      }
      sources.set(`src/${folder}/deep/own.ts`, importing('../own.ts'));
      for (const [index, name] of INPUT_OUTPUT.entries()) sources.set(`src/${folder}/io-${index}.ts`, importing(name));
      for (const file of ['main', 'other'])
        sources.set(`src/${folder}/${file}.ts`, OUTSIDE_ROOTS.map((one, index) => `export const x${index} = () => ${one};\n`).join(''));
    }
    for (const [path, text] of sources) {
      await mkdir(dirname(`${place}/${path}`), { recursive: true });
      await writeFile(`${place}/${path}`, text);
    }
    await copyFile(`${root}/.oxlintrc.json`, `${place}/.oxlintrc.json`);
    const run = await execa(`${root}/node_modules/.bin/oxlint`, ['--format', 'json', 'src'], { cwd: place, reject: false, maxBuffer: 1e9 });
    for (const { code, filename } of report.parse(JSON.parse(run.stdout)).diagnostics) found.set(filename, [...(found.get(filename) ?? []), code]);
  });

  afterAll(() => rm(place, { recursive: true, force: true }));

  it('knows every folder of src', async () => {
    const entries = await readdir(`${root}/src`, { withFileTypes: true });
    const names = entries.filter((entry) => entry.isDirectory()).map((entry) => entry.name);
    expect(names.toSorted()).toEqual(folders.toSorted());
  });

  it('is not gone round by dynamic imports', () => {
    const dynamic = globSync('src/**/*.ts', { cwd: root }).filter((path) =>
      /\b(import|require)\(\s*['"`](\.\.\/|\.\/[^'"`]*\/)/.test(readFileSync(`${root}/${path}`, 'utf8')),
    );
    expect(dynamic).toEqual([]);
  });

  it.each(folders)('lets %s import what it may, and nothing else', (folder) => {
    for (const other of folders.filter((one) => one !== folder)) {
      const expected = DIRECTIONS[folder]?.includes(other) === true ? 0 : WAYS;
      for (const depth of ['', 'deep/', 'deep/er/']) {
        const file = `src/${folder}/${depth}to-${other}.ts`;
        expect([file, count(file, 'no-restricted-imports')]).toEqual([file, expected]);
      }
    }
    expect(count(`src/${folder}/deep/own.ts`, 'no-restricted-imports')).toBe(0);
  });

  it.each(folders)('%s: input and output only where it belongs', (folder) => {
    for (const [index, name] of INPUT_OUTPUT.entries()) {
      expect([name, count(`src/${folder}/io-${index}.ts`, 'no-restricted-imports')]).toEqual([name, PURE.includes(folder) ? WAYS : 0]);
    }
  });

  it.each(folders)('%s: environment, clock, exit and standard output only in composition roots, console nowhere', (folder) => {
    const restricted = OUTSIDE_ROOTS.length - 1;
    expect(count(`src/${folder}/main.ts`, 'no-restricted-properties')).toBe(ROOTS.includes(folder) ? 0 : restricted);
    expect(count(`src/${folder}/other.ts`, 'no-restricted-properties')).toBe(folder === 'cli' ? 0 : restricted);
    expect(count(`src/${folder}/main.ts`, 'no-console')).toBe(1);
    expect(count(`src/${folder}/other.ts`, 'no-console')).toBe(1);
  });
});
