import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { cp, mkdir, mkdtemp, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const entries = ['cli', 'agent', 'service', 'meeting', 'drill'];

/** The real build over four small sources. */
describe('build', () => {
  let folder: string;

  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/fleet-build-`);
    await mkdir(`${folder}/scripts`);
    await cp(`${root}/scripts/build.ts`, `${folder}/scripts/build.ts`);
    await cp(`${root}/src/starter.cjs`, `${folder}/src/starter.cjs`);
    await symlink(`${root}/node_modules`, `${folder}/node_modules`);
    await writeFile(`${folder}/package-lock.json`, '{}');
    await writeFile(`${folder}/package.json`, '{"type":"module"}');
    await setText('one');
  });
  afterEach(() => rm(folder, { recursive: true, force: true }));

  async function setText(text: string): Promise<void> {
    for (const name of entries) {
      await mkdir(`${folder}/src/${name}`, { recursive: true });
      await writeFile(`${folder}/src/${name}/main.ts`, `process.stdout.write('${name} ${text}');\n`);
    }
  }
  const build = (...words: string[]) => execa(process.execPath, [`${folder}/scripts/build.ts`, ...words], { reject: false });
  const outputs = (): Promise<string[]> => Promise.all(entries.map(async (name) => (await execa(process.execPath, [`${folder}/dist/${name}.cjs`])).stdout));
  const isCurrent = async (): Promise<boolean> => (await build('--check')).exitCode === 0;

  it('builds once, and tells whether it has to, without writing', async () => {
    expect(await isCurrent()).toBe(false);
    await expect(stat(`${folder}/dist`)).rejects.toThrow('ENOENT');
    await build();
    expect(await isCurrent()).toBe(true);
    expect(await outputs()).toEqual(entries.map((name) => `${name} one`));
    const before = (await stat(`${folder}/dist/cli.cjs`)).mtimeMs;
    await build();
    expect((await stat(`${folder}/dist/cli.cjs`)).mtimeMs).toBe(before);
    await setText('two');
    expect(await isCurrent()).toBe(false);
  });

  it('starts programs with what was compiled of them, and compiles anew where that is damaged or of another build', async () => {
    const path = `${folder}/dist/own.agent`;
    /** Told where to write, a program writes what it compiled only where it had to. */
    const hasCompiled = async (): Promise<boolean> => {
      const before = await stat(path).catch(() => null);
      const { stdout } = await execa(process.execPath, [`${folder}/dist/agent.cjs`], { env: { FLEET_COMPILED: `${folder}/dist/own` } });
      expect(`${await readFile(`${folder}/src/agent/main.ts`, 'utf8')}`).toContain(stdout);
      return (await stat(path)).ino !== before?.ino;
    };
    await build();
    expect(await readFile(`${folder}/dist/agent.compiled`, 'latin1')).toMatch(/^\/\/ [0-9a-f]{64}\n\d+ *\n./s);
    expect([await hasCompiled(), await hasCompiled()]).toEqual([true, false]);
    const good = await readFile(path);
    await writeFile(path, Buffer.concat([good.subarray(0, -9), Buffer.from('damagedXX')]));
    expect([await hasCompiled(), await hasCompiled()]).toEqual([true, false]);
    await setText('two');
    await build();
    expect([await hasCompiled(), await hasCompiled()]).toEqual([true, false]);
  });

  it('keeps nothing of what was compiled for a command that failed', async () => {
    await writeFile(`${folder}/src/cli/main.ts`, `process.exitCode = Number(process.argv[2]);\n`);
    await build();
    const isKept = async (code: number): Promise<boolean> => {
      await execa(process.execPath, [`${folder}/dist/cli.cjs`, String(code)], { env: { FLEET_COMPILED: `${folder}/dist/own` }, reject: false });
      return existsSync(`${folder}/dist/own.cli`);
    };
    expect([await isKept(2), await isKept(0)]).toEqual([false, true]);
  });

  it('keeps the former bundles whole where the new ones cannot be made', async () => {
    await build();
    await writeFile(`${folder}/src/agent/main.ts`, 'const ;');
    const failed = await build();
    expect(failed.exitCode).not.toBe(0);
    expect(await outputs()).toEqual(entries.map((name) => `${name} one`));
    await setText('one');
    expect(await isCurrent()).toBe(true);
  });

  it('never passes for built after a kill, unless it is', async () => {
    await build();
    let kills = 0;
    for (let afterMs = 0; afterMs <= 140; afterMs += 20) {
      const [from, to] = [`a${afterMs}`, `b${afterMs}`];
      await setText(from);
      await build();
      await setText(to);
      const killed = await execa(process.execPath, [`${folder}/scripts/build.ts`], { reject: false, timeout: afterMs + 1, killSignal: 'SIGKILL' });
      if (killed.timedOut) kills += 1;
      for (const text of [from, to]) {
        await setText(text);
        if (await isCurrent()) expect(await outputs()).toEqual(entries.map((name) => `${name} ${text}`));
      }
      await build();
      expect(await outputs()).toEqual(entries.map((name) => `${name} ${to}`));
    }
    expect(kills).toBeGreaterThan(3);
    expect(await readFile(`${folder}/dist/stamp`, 'utf8')).toMatch(/^[0-9a-f]{64}$/);
  });
});
