import { execa } from 'execa';
import { appendFile, chmod, mkdir, readFile, readdir, rename, rm, stat, symlink, utimes, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import { createEntryProject } from './entry-project.ts';
import type { EntryProject } from './entry-project.ts';

const root = resolve(import.meta.dirname, '../..');
const nobody = ['/usr/bin/setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups'];
const installed = 'Installing dependencies (npm ci, ';
const installedAndBuilt = /^Installing dependencies \(npm ci, http[^]*Building …$/;
const quiet = { code: 7, out: '[]', err: '' };

/** A run that is under way; it comes to its end by itself or by a signal. */
interface Running {
  readonly kill: (signal: NodeJS.Signals) => void;
  readonly ended: Promise<{ readonly exitCode?: number | undefined; readonly stdout: string; readonly stderr: string }>;
}

function exists(path: string): Promise<boolean> {
  return stat(path).then(
    () => true,
    () => false,
  );
}

describe('entry scripts', () => {
  let project: EntryProject;

  beforeEach(async () => {
    project = await createEntryProject();
  });
  afterEach(() => project.remove());

  /** Starts a run whose npm waits for a registry that never answers, and waits until it does. */
  async function startHanging(): Promise<Running> {
    const silent = await project.serve();
    silent.files.set('/part', null);
    const { argv, env: all } = project.command([], { NPM_CONFIG_REGISTRY: silent.url });
    const run = execa(argv[0], argv.slice(1), { env: all, extendEnv: false, reject: false });
    await until(async () => silent.asked.length > 0, 60_000);
    return { kill: (signal) => void run.kill(signal), ended: run };
  }
  /** Ids of the processes that work below the project. */
  async function processesAtWork(): Promise<string[]> {
    const { stdout } = await execa('bash', [
      '-c',
      `for p in /proc/[0-9]*; do case $(readlink $p/cwd) in ${project.path}*) echo \${p#/proc/};; esac; done; true`,
    ]);
    return stdout.split('\n').filter((id) => id !== '');
  }

  describe('a first run', () => {
    it('installs and builds once, says so on standard error only, and hands over words and exit code', async () => {
      await project.haveNode();
      const first = await project.run(['two words', '部件', '--x=$HOME', '']);
      expect(first.err).toMatch(installedAndBuilt);
      expect(first.out).toBe('["two words","部件","--x=$HOME",""]');
      expect(first.code).toBe(7);
      expect(await project.run(['again'], { LANG: 'zh_CN.UTF-8' })).toEqual({ code: 7, out: '["again"]', err: '' });
    });

    it.each([
      [{ LANG: 'zh_CN.UTF-8' }, [], '安装依赖（npm ci，http'],
      [{}, ['--lang', 'zh'], '安装依赖（npm ci，http'],
      [{ LANG: 'zh_CN.UTF-8' }, ['--lang=en'], installed],
      [{ LC_ALL: 'C', LANG: 'zh_CN.UTF-8' }, [], installed],
      [{}, [], installed],
    ])('speaks the language of %o and %o', async (env, words, text) => {
      await project.haveNode();
      expect((await project.run(words, env)).err).toContain(text);
    });

    it('works through a link, from another folder, as a word of sh, and for monitoring', async () => {
      await project.haveNode();
      await rename(project.path, `${project.folder}/a folder 项目`);
      const moved = `${project.folder}/a folder 项目`;
      await symlink(`${moved}/部署.sh`, `${project.folder}/deploy`);
      const options = { cwd: '/', env: project.command().env, extendEnv: false, reject: false } as const;
      expect(await execa(`${project.folder}/deploy`, ['x y'], options)).toMatchObject({ stdout: '["x y"]', exitCode: 7 });
      expect(await execa('sh', [`${moved}/部署.sh`, 'x y'], options)).toMatchObject({ stdout: '["x y"]', stderr: '', exitCode: 7 });
      expect(await execa(`${moved}/监控.sh`, ['logs'], options)).toMatchObject({ stdout: '["monitor","logs"]', stderr: '', exitCode: 7 });
    });

    it.each([
      ['with flock', true],
      ['without flock', false],
    ])('lets two runs at the same time install once (%s)', async (_, hasFlock) => {
      await project.haveNode();
      if (hasFlock) await project.have('flock');
      const both = await Promise.all([project.run(), project.run()]);
      expect(both.map((one) => one.code)).toEqual([7, 7]);
      expect(both.map((one) => one.err.match(/Installing/g)?.length ?? 0).toSorted()).toEqual([0, 1]);
      expect(await project.run()).toEqual(quiet);
    });

    it('says that bash is missing', async () => {
      await rm(`${project.folder}/bin/bash`);
      const refused = await project.run([], {}, ['/bin/sh']);
      expect(refused.code).not.toBe(0);
      expect(refused.err).toContain('bash: not found');
    });
  });

  describe('what was prepared before', () => {
    beforeEach(async () => {
      await project.haveNode();
      expect((await project.run()).code).toBe(7);
    });

    it('installs again for another lock file, whatever its date, and not for the same one written again', async () => {
      await writeFile(`${project.path}/package-lock.json`, project.lock);
      expect((await project.run()).err).not.toContain(installed);
      await appendFile(`${project.path}/package-lock.json`, '\n');
      await utimes(`${project.path}/package-lock.json`, 1, 1);
      expect((await project.run()).err).toContain(installed);
      expect(await project.run()).toEqual(quiet);
    });

    it('takes what npm ci installed by hand, and nothing that it did not finish', async () => {
      await rm(`${project.path}/node_modules/.fleet-lock.json`);
      expect(await project.run()).toEqual(quiet);
      await rm(`${project.path}/node_modules/.package-lock.json`);
      expect((await project.run()).err).toContain(installed);
    });

    it('builds again for a changed, a new and a removed source, whatever its date', async () => {
      await writeFile(`${project.path}/src/b.ts`, '');
      await utimes(`${project.path}/src/b.ts`, 1, 1);
      await utimes(`${project.path}/src`, 1, 1);
      expect((await project.run()).err).toBe('Building …');
      await writeFile(`${project.path}/src/b.ts`, ' ');
      await utimes(`${project.path}/src/b.ts`, 1, 1);
      expect((await project.run()).err).toBe('Building …');
      await rm(`${project.path}/src/b.ts`);
      expect((await project.run()).err).toBe('Building …');
      expect(await project.run()).toEqual(quiet);
    });

    it('keeps the former dependencies where the new ones cannot be had', async () => {
      await appendFile(`${project.path}/package-lock.json`, '\n');
      const env = { NPM_CONFIG_REGISTRY: (await project.serve()).url };
      await rm(`${project.folder}/.npm`, { recursive: true });
      const refused = await project.run([], env);
      expect(refused).toMatchObject({ code: 1, out: '' });
      expect(refused.err).toContain('The dependencies could not be installed. Set NPM_CONFIG_REGISTRY');
      await writeFile(`${project.path}/package-lock.json`, project.lock);
      expect((await project.run([], env)).err).not.toContain(installed);
    });

    it('serves another user, also after a change of owner, and tells one who would have to change something', async () => {
      expect(await project.run([], {}, nobody)).toEqual(quiet);
      await chmod(`${project.path}/src/a.ts`, 0o640);
      expect(await project.run([], {}, nobody)).toEqual(quiet);
      await rm(`${project.path}/dist/stamp`);
      const refused = await project.run(['status'], {}, nobody);
      expect(refused).toMatchObject({ code: 1, out: '' });
      expect(refused.err).toContain('cannot be written');
    });
  });

  describe('an interrupt', () => {
    it.each(['SIGINT', 'SIGTERM', 'SIGHUP'] as const)('by %s ends npm as well, keeps what was there, and the next run goes on', async (signal) => {
      await project.haveNode();
      await project.run();
      await rm(`${project.folder}/.npm`, { recursive: true });
      await appendFile(`${project.path}/package-lock.json`, '\n');
      const run = await startHanging();
      run.kill(signal);
      const ended = await run.ended;
      expect([ended.exitCode, ended.stdout]).toEqual([130, '']);
      expect(ended.stderr).toContain('Interrupted');
      await until(async () => (await processesAtWork()).length === 0, 10_000);
      expect(await exists(`${project.path}/node_modules/part/package.json`)).toBe(true);
      expect((await project.run()).err).toMatch(installedAndBuilt);
      expect(await project.run()).toEqual(quiet);
    });

    it('that leaves no time to clean up does not hinder the next run (without flock)', async () => {
      await project.haveNode();
      const run = await startHanging();
      expect(await exists(`${project.path}/runtime/prepare.lock.pid`)).toBe(true);
      run.kill('SIGKILL');
      for (const id of await processesAtWork()) process.kill(Number(id), 'SIGKILL');
      await run.ended;
      expect((await project.run()).err).toMatch(installedAndBuilt);
      expect(await exists(`${project.path}/runtime/prepare.lock.pid`)).toBe(false);
    });
  });

  describe('a user without root', () => {
    it.each([['deploy'], ['--env', 'x y', 'deploy', '--dry-run']])(
      'hears that deploy needs root before anything is asked of a registry (%s)',
      async (...words) => {
        await project.haveNode();
        await chmod(project.path, 0o777);
        const refused = await project.run(words, {}, nobody);
        expect(refused).toEqual({ code: 1, out: '', err: '✗ To deploy, root is needed. Try: sudo ./部署.sh deploy' });
        expect(project.registry.asked).toEqual([]);
      },
    );

    it('may prepare a checkout of their own and see the help of deploy', async () => {
      await project.haveNode();
      await execa('chown', ['-R', '65534:65534', project.folder]);
      expect(await project.run(['deploy', '--help'], {}, nobody)).toMatchObject({ code: 7, out: '["deploy","--help"]' });
    });
  });

  describe('an unpacked bundle', () => {
    const cli = 'console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 7;';
    beforeEach(async () => {
      for (const path of ['src', 'package-lock.json', 'scripts/build.ts']) await rm(`${project.path}/${path}`, { recursive: true });
      for (const path of ['dist', 'bundle/components/node/bin']) await mkdir(`${project.path}/${path}`, { recursive: true });
      await writeFile(`${project.path}/dist/cli.cjs`, cli);
      await writeFile(`${project.path}/dist/stamp`, '');
    });

    it('runs with its own Node, asks no registry and writes nothing', async () => {
      await symlink(process.execPath, `${project.path}/bundle/components/node/bin/node`);
      expect(await project.run(['status'])).toEqual({ code: 7, out: '["status"]', err: '' });
      expect(project.registry.asked).toEqual([]);
      expect((await readdir(project.path)).includes('runtime')).toBe(false);
    });

    it('for another processor says so, and brings no other Node', async () => {
      await project.haveNode();
      await writeFile(`${project.path}/bundle/components/node/bin/node`, Buffer.concat([Buffer.from('\x7fELF'), Buffer.alloc(60)]), { mode: 0o755 });
      const refused = await project.run();
      expect(refused).toMatchObject({ code: 1, out: '' });
      expect(refused.err).toContain('The Node of this bundle does not run on this machine');
      expect(refused.err).toContain('Exec format error');
    });
  });

  it('refuses a FLEET_NODE that is too old or missing, before anything is installed, and uses a good one', async () => {
    await project.haveNode();
    await writeFile(`${project.folder}/old`, '#!/bin/sh\necho v20.19.2\n', { mode: 0o755 });
    for (const wrong of [`${project.folder}/old`, `${project.folder}/missing`]) {
      expect(await project.run([], { FLEET_NODE: wrong })).toEqual({
        code: 1,
        out: '',
        err: `✗ FLEET_NODE=${wrong} is not Node 24 or newer. Give the path of one, or unset the variable.`,
      });
    }
    expect(project.registry.asked).toEqual([]);
    expect((await project.run([], { FLEET_NODE: process.execPath })).code).toBe(7);
  });

  it('names the same Node as the dependencies', async () => {
    const { dependencies } = JSON.parse(await readFile(`${root}/package.json`, 'utf8')) as { dependencies: { node: string } };
    expect(await readFile(`${root}/scripts/find-node.sh`, 'utf8')).toContain(`\nFLEET_NODE_VERSION=${dependencies.node}\n`);
  });
});
