import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';

const root = resolve(import.meta.dirname, '../..');
const archive = `node-v24.21.0-linux-${process.arch}.tar.gz`;
/** What a bare Debian has; node, npm, curl, wget and flock are added where a test wants them. */
const bareTools = 'bash sh env sed grep cat uname readlink dirname mkdir rm mv touch find tar gzip sha256sum head tail sleep id chmod'.split(' ');

const installedAndBuilt = /^Installing dependencies \(npm ci\) …\n[^]*Building …$/;

/**
 * The real entry scripts over a project without dependencies, in a PATH of its own; npm and Node are real.
 * Its build writes a CLI that tells its arguments and ends with 7.
 */
describe('entry scripts', () => {
  let folder: string;
  let project: string;
  let server: Server | undefined;

  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/fleet-entry-`);
    await chmod(folder, 0o755);
    project = `${folder}/project`;
    await mkdir(`${project}/src`, { recursive: true });
    await mkdir(`${folder}/bin`);
    await cp(`${root}/部署.sh`, `${project}/部署.sh`);
    await cp(`${root}/scripts/find-node.sh`, `${project}/scripts/find-node.sh`);
    const own = { name: 'entry-test', version: '1.0.0', dependencies: { part: 'file:part' } };
    await mkdir(`${project}/part`);
    await writeFile(`${project}/part/package.json`, '{"name":"part","version":"1.0.0"}');
    await writeFile(`${project}/package.json`, JSON.stringify({ ...own, type: 'module' }));
    const packages = { '': own, 'node_modules/part': { resolved: 'part', link: true }, part: { version: '1.0.0' } };
    await writeFile(`${project}/package-lock.json`, JSON.stringify({ name: 'entry-test', version: '1.0.0', lockfileVersion: 3, packages }));
    await writeFile(`${project}/src/a.ts`, '');
    const build = [
      "import { mkdirSync, writeFileSync } from 'node:fs';",
      "const dist = new URL('../dist/', import.meta.url);",
      'mkdirSync(dist, { recursive: true });',
      "writeFileSync(new URL('cli.mjs', dist), 'console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 7;');",
      "writeFileSync(new URL('stamp', dist), '');",
    ];
    await writeFile(`${project}/scripts/build.ts`, build.join('\n'));
    for (const tool of bareTools) await have(tool);
  });

  afterEach(async () => {
    server?.closeAllConnections();
    server?.close();
    server = undefined;
    await rm(folder, { recursive: true, force: true });
  });

  /** Puts a program of this computer into the PATH of the test. */
  async function have(name: string, path?: string): Promise<void> {
    const found = path ?? (await execa('which', [name])).stdout;
    await symlink(found, `${folder}/bin/${name}`);
  }
  async function haveNode(): Promise<void> {
    await have('node', process.execPath);
    await have('npm');
  }
  async function run(words: readonly string[] = [], env: Readonly<Record<string, string>> = {}): Promise<{ code: number; out: string; err: string }> {
    const result = await execa(`${project}/部署.sh`, words, {
      env: { PATH: `${folder}/bin`, HOME: folder, LANG: 'C', ...env },
      extendEnv: false,
      reject: false,
      timeout: 120_000,
    });
    return { code: result.exitCode ?? -1, out: result.stdout, err: result.stderr };
  }
  async function listen(listener: RequestListener): Promise<string> {
    const started = createServer(listener);
    server = started;
    await new Promise<void>((done) => started.listen(0, '127.0.0.1', done));
    return `http://127.0.0.1:${(started.address() as AddressInfo).port}`;
  }
  /** A mirror of Node's downloads whose archive holds links to this very Node and npm. */
  async function nodeMirror(digest?: string): Promise<string> {
    const tree = `${folder}/node-v24.21.0-linux-${process.arch}`;
    await mkdir(`${tree}/bin`, { recursive: true });
    await symlink(process.execPath, `${tree}/bin/node`);
    await symlink((await execa('readlink', ['-f', (await execa('which', ['npm'])).stdout])).stdout, `${tree}/bin/npm`);
    await execa('tar', ['-czf', `${folder}/${archive}`, '-C', folder, `node-v24.21.0-linux-${process.arch}`]);
    const bytes = await readFile(`${folder}/${archive}`);
    const sum = digest ?? createHash('sha256').update(bytes).digest('hex');
    return listen((request, response) => {
      if (request.url === '/mirror/v24.21.0/SHASUMS256.txt') response.end(`${sum}  ${archive}\n`);
      else if (request.url === `/mirror/v24.21.0/${archive}`) response.end(bytes);
      else response.writeHead(404).end();
    });
  }

  it('installs and builds once, says so on standard error only, and hands over words and exit code', async () => {
    await haveNode();
    const first = await run(['two words', '部件', '--x=$HOME']);
    expect(first.err).toMatch(installedAndBuilt);
    expect(first.out).toBe('["two words","部件","--x=$HOME"]');
    expect(first.code).toBe(7);
    const second = await run(['again'], { LANG: 'zh_CN.UTF-8' });
    expect(second).toEqual({ code: 7, out: '["again"]', err: '' });
  });

  it('installs again after an interrupted npm ci and after a change of the lock file, and builds again after a change of a source', async () => {
    await haveNode();
    await run();
    await rm(`${project}/node_modules/.package-lock.json`);
    expect((await run()).err).toContain('Installing dependencies (npm ci) …');
    const later = new Date(Date.now() + 5_000);
    await utimes(`${project}/src/a.ts`, later, later);
    expect((await run()).err).toBe('Building …');
    await utimes(`${project}/package-lock.json`, later, later);
    expect((await run()).err).toContain('Installing dependencies');
  });

  it('works through a link, from another folder, and speaks Chinese', async () => {
    await haveNode();
    await symlink(`${project}/部署.sh`, `${folder}/deploy`);
    const result = await execa(`${folder}/deploy`, ['x'], {
      cwd: '/',
      env: { PATH: `${folder}/bin`, HOME: folder, LANG: 'zh_CN.UTF-8' },
      extendEnv: false,
      reject: false,
    });
    expect(result.stdout).toBe('["x"]');
    expect(result.stderr).toMatch(/^安装依赖（npm ci）…\n[^]*构建…$/);
  });

  it('lets two first runs at the same time install once', async () => {
    await haveNode();
    await have('flock');
    const both = await Promise.all([run(), run()]);
    expect(both.map((one) => one.code)).toEqual([7, 7]);
    expect(both.map((one) => one.err).toSorted()).toEqual(['', expect.stringMatching(installedAndBuilt)]);
  });

  it('refuses a FLEET_NODE that is too old', async () => {
    await haveNode();
    await writeFile(`${folder}/old`, '#!/bin/sh\necho v20.19.2\n', { mode: 0o755 });
    const refused = await run([], { FLEET_NODE: `${folder}/old` });
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('is not Node 24 or newer');
  });

  it.each(['curl', 'wget'])('brings Node by %s from the NODE_MIRROR of the settings file that was named', async (tool) => {
    await have(tool);
    await writeFile(`${folder}/my.env`, `\uFEFFNODE_MIRROR="${await nodeMirror()}/mirror/"\r\nDOMAIN=localhost\r\n`);
    const brought = await run(['--env', `${folder}/my.env`]);
    expect(brought.err).toContain('Downloading Node: http://127.0.0.1');
    expect(brought.code, brought.err).toBe(7);
    expect((await run()).err).toBe('');
  });

  it('takes nothing whose checksum differs, and says what to do', async () => {
    await have('curl');
    await writeFile(`${project}/.env`, `export NODE_MIRROR = ${await nodeMirror('0'.repeat(64))}/mirror # near\n`);
    const refused = await run();
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('Not downloaded; trying the next source');
    expect(refused.err).toContain('Set NPM_CONFIG_REGISTRY (an npm mirror) or NODE_MIRROR');
  });

  it('gives a mirror that never sends anything seconds, not minutes', async () => {
    await have('curl');
    await writeFile(`${project}/.env`, `NODE_MIRROR=${await listen(() => undefined)}\n`);
    const refused = await run();
    expect(refused.err).toContain('Not downloaded; trying the next source');
  });

  it('asks the npm registry of the settings file, unless the environment names another', async () => {
    await haveNode();
    const lock = {
      name: 'entry-test',
      version: '1.0.0',
      lockfileVersion: 3,
      packages: {
        '': { name: 'entry-test', version: '1.0.0', dependencies: { 'left-pad': '1.3.0' } },
        'node_modules/left-pad': { version: '1.3.0', integrity: `sha512-${'A'.repeat(86)}==` },
      },
    };
    await writeFile(`${project}/package.json`, '{"name":"entry-test","version":"1.0.0","type":"module","dependencies":{"left-pad":"1.3.0"}}');
    await writeFile(`${project}/package-lock.json`, JSON.stringify(lock));
    const asked: string[] = [];
    const url = await listen((request, response) => {
      asked.push(request.url ?? '');
      response.writeHead(404).end();
    });
    await writeFile(`${project}/.env`, `NPM_CONFIG_REGISTRY='${url}/npm/'\n`);
    const env = { npm_config_fetch_retries: '0' };
    const refused = await run([], env);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('The dependencies could not be installed');
    await run([], { ...env, NPM_CONFIG_REGISTRY: `${url}/other/` });
    expect(asked.some((path) => path.startsWith('/npm/left-pad'))).toBe(true);
    expect(asked.some((path) => path.startsWith('/other/left-pad'))).toBe(true);
  });

  it('tells another user that the checkout cannot be written', async () => {
    await haveNode();
    const result = await execa('/usr/bin/setpriv', ['--reuid', '65534', '--regid', '65534', '--clear-groups', `${project}/部署.sh`], {
      env: { PATH: `${folder}/bin`, HOME: folder, LANG: 'C' },
      extendEnv: false,
      reject: false,
    });
    expect(result.exitCode).toBe(1);
    expect(result.stderr).toContain('cannot be written');
  });
});
