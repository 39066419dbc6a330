import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { createEntryProject, pack } from './entry-project.ts';
import type { Answers, EntryProject } from './entry-project.ts';

const version = '24.21.0';
const arch = process.arch;
const archive = `node-v${version}-linux-${arch}.tar.gz`;
const npmCli = (await execa('sh', ['-c', 'readlink -f "$(command -v npm)"'])).stdout;

function sha(name: string, bytes: Uint8Array): string {
  return createHash(name).update(bytes).digest('hex');
}

/** Where Node and the dependencies come from on a machine that has neither; what is "Node" here are links to this very Node and npm. */
describe('entry scripts on a machine without Node', () => {
  let project: EntryProject;
  let mirror: Answers;

  beforeEach(async () => {
    project = await createEntryProject();
    mirror = await project.serve();
  });
  afterEach(() => project.remove());

  async function serveNode(digest?: string): Promise<void> {
    const bytes = await pack(project.folder, 'archive', { 'node/bin/node': `→${process.execPath}`, 'node/bin/npm': `→${npmCli}` });
    mirror.files.set(`/mirror/v${version}/SHASUMS256.txt`, `${'1'.repeat(64)}  node-v${version}.tar.gz\n${digest ?? sha('sha256', bytes)}  ${archive}\n`);
    mirror.files.set(`/mirror/v${version}/${archive}`, bytes);
  }
  /** Puts packages into the registry; the checksums that the script demands are made theirs, unless it is to find wrong ones. */
  async function servePackages(isRight = true): Promise<void> {
    const node = await pack(project.folder, 'node', { 'package/bin/node': `→${process.execPath}` });
    const npm = await pack(project.folder, 'npm', {
      'package/bin/npm-cli.js': `#!/bin/sh\nexec node ${npmCli} "$@"\n`,
      'package/bin/npx-cli.js': '',
    });
    const script = await readFile(`${project.path}/scripts/find-node.sh`, 'utf8');
    const npmVersion = /^FLEET_NPM_VERSION=(.*)$/m.exec(script)?.[1] ?? '';
    project.registry.files.set(`/node-linux-${arch}/-/node-linux-${arch}-${version}.tgz`, node);
    project.registry.files.set(`/npm/-/npm-${npmVersion}.tgz`, npm);
    if (!isRight) return;
    const own = script
      .replace(new RegExp(`^(FLEET_SHA512_${arch}=).*$`, 'm'), `$1${sha('sha512', node)}`)
      .replace(/^(FLEET_SHA512_npm=).*$/m, `$1${sha('sha512', npm)}`);
    expect(own).not.toBe(script);
    await writeFile(`${project.path}/scripts/find-node.sh`, own);
  }

  it.each(['curl', 'wget'])('brings Node by %s from the registry of the dependencies', async (tool) => {
    await project.have(tool);
    await servePackages();
    const brought = await project.run();
    expect(brought.err).toContain(`Downloading Node ${version}`);
    expect(brought, brought.err).toMatchObject({ code: 7, out: '[]' });
    expect(await project.run()).toEqual({ code: 7, out: '[]', err: '' });
  });

  it.each(['curl', 'wget'])('brings Node by %s from the NODE_MIRROR of the settings file that was named', async (tool) => {
    await project.have(tool);
    await serveNode();
    const words = ['--env', `${project.folder}/my own.env`];
    await writeFile(`${project.folder}/my own.env`, `\uFEFFNODE_MIRROR="${mirror.url}/mirror/"\r\nDOMAIN=localhost\r\n`);
    const brought = await project.run(words, { LANG: 'C.UTF-8' });
    expect(brought.code, brought.err).toBe(7);
    expect(mirror.asked).toContain(`/mirror/v${version}/${archive}`);
  });

  it.each([
    ['whose checksum differs', () => serveNode('0'.repeat(64)), 'The checksum differs; not used'],
    ['that never answers', async () => void mirror.files.set(`/mirror/v${version}/SHASUMS256.txt`, null), 'Not downloaded'],
    ['that has none', async () => undefined, 'Not downloaded'],
    ['without the checksum', async () => (await serveNode(), void mirror.files.set(`/mirror/v${version}/SHASUMS256.txt`, '')), 'The checksum differs'],
  ])('goes on to the registry after a mirror %s', async (_, arrange, text) => {
    await project.have('curl');
    await arrange();
    await servePackages();
    await writeFile(`${project.path}/.env`, `export NODE_MIRROR = ${mirror.url}/mirror # near\n`);
    const brought = await project.run();
    expect(brought.err).toContain(text);
    expect(brought.code, brought.err).toBe(7);
  });

  it('takes nothing from a registry whose checksum differs, and says what to do', async () => {
    await project.have('curl');
    await servePackages(false);
    const refused = await project.run([], { NODE_MIRROR: `${mirror.url}/mirror` });
    expect(refused).toMatchObject({ code: 1, out: '' });
    expect(refused.err).toContain('The checksum differs; not used');
    expect(refused.err).toContain('Set NPM_CONFIG_REGISTRY (an npm mirror) or NODE_MIRROR');
  });

  it('does not use an npm that is broken or too old', async () => {
    await project.have('curl');
    await writeFile(`${project.folder}/bin/npm`, '#!/bin/sh\necho 6.14.0\n', { mode: 0o755 });
    await servePackages();
    expect((await project.run()).code).toBe(7);
  });

  it('has curl installed by apt-get where there is neither curl nor wget', async () => {
    const calls = `${project.folder}/apt.log`;
    const curl = (await execa('which', ['curl'])).stdout;
    const apt = `#!/bin/sh\necho "$@" >>${calls}\ncase "$*" in *install*) ln -sf ${curl} ${project.folder}/bin/curl ;; esac\n`;
    await writeFile(`${project.folder}/bin/apt-get`, apt, { mode: 0o755 });
    await symlink('/bin/true', `${project.folder}/bin/dpkg`);
    await servePackages();
    const brought = await project.run();
    expect(brought.code, brought.err).toBe(7);
    expect(await readFile(calls, 'utf8')).toMatch(/ update\n.* install -y --no-install-recommends curl ca-certificates\n$/);
  });

  it('asks the npm registry of the settings file, unless the environment names another', async () => {
    await project.haveNode();
    await writeFile(`${project.path}/.env`, `NPM_CONFIG_REGISTRY=http://127.0.0.1:1\r\nNPM_CONFIG_REGISTRY='${mirror.url}/npm/'\r\n`);
    const refused = await project.run([], { NPM_CONFIG_REGISTRY: '' });
    expect(refused.code).toBe(1);
    expect(mirror.asked.some((path) => path.startsWith('/npm/part'))).toBe(true);
    await rm(`${project.folder}/.npm`, { recursive: true, force: true });
    const small = await project.run([], { NPM_CONFIG_REGISTRY: '', npm_config_registry: project.registry.url });
    expect(small.code, small.err).toBe(7);
  });
});
