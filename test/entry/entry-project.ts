import { execa } from 'execa';
import { createHash } from 'node:crypto';
import { chmod, cp, mkdir, mkdtemp, readFile, rm, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';

const root = resolve(import.meta.dirname, '../..');
/** What a bare Debian has; node, npm, curl, wget, flock and apt-get are added where a test wants them. */
const bareTools = 'bash sh env sed cat cmp cp ln uname readlink mkdir rm mv touch find tar gzip sha256sum sha512sum sleep chmod timeout'.split(' ');

/** How one run of an entry script ended. */
export interface Ended {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** A local HTTP server whose answers are named by path; a path of `silent` is never answered, any other is 404. */
export interface Answers {
  readonly url: string;
  readonly asked: string[];
  readonly files: Map<string, Uint8Array | string | null>;
  close(): void;
}

/**
 * The real entry scripts over a project with one dependency, in a PATH of its own; npm, Node and the network are real.
 * Its build writes a CLI that tells its arguments and ends with 7.
 */
export interface EntryProject {
  /** Folder of everything; HOME of the runs. */
  readonly folder: string;
  readonly path: string;
  readonly lock: string;
  /** The npm registry, with `part` 1.0.0, that runs are given. */
  readonly registry: Answers;
  /** Puts programs of this computer, or one at a path, into the PATH. */
  have(...names: string[]): Promise<void>;
  haveAt(name: string, path: string): Promise<void>;
  haveNode(): Promise<void>;
  /** argv and environment of a run, for a test that starts it in its own way. */
  command(words?: readonly string[], env?: Readonly<Record<string, string>>): { argv: [string, ...string[]]; env: Record<string, string> };
  run(words?: readonly string[], env?: Readonly<Record<string, string>>, before?: readonly string[]): Promise<Ended>;
  serve(): Promise<Answers>;
  remove(): Promise<void>;
}

export async function createEntryProject(): Promise<EntryProject> {
  const folder = await mkdtemp(`${tmpdir()}/fleet-entry-`);
  const path = `${folder}/project`;
  const servers: Answers[] = [];
  await chmod(folder, 0o755);
  await mkdir(`${path}/src`, { recursive: true });
  await mkdir(`${folder}/bin`);
  for (const file of ['部署.sh', '监控.sh', 'scripts/find-node.sh']) await cp(`${root}/${file}`, `${path}/${file}`);
  await writeFile(`${path}/src/a.ts`, '');
  const build = [
    "import { existsSync, mkdirSync, writeFileSync } from 'node:fs';",
    "const dist = new URL('../dist/', import.meta.url);",
    "if (process.argv.includes('--check')) process.exit(existsSync(new URL('stamp', dist)) ? 0 : 1);",
    'mkdirSync(dist, { recursive: true });',
    "writeFileSync(new URL('cli.cjs', dist), 'console.log(JSON.stringify(process.argv.slice(2))); process.exitCode = 7;');",
    "writeFileSync(new URL('stamp', dist), '');",
  ];
  await writeFile(`${path}/scripts/build.ts`, build.join('\n'));

  const serve = async (): Promise<Answers> => {
    const answers = await listen();
    servers.push(answers);
    return answers;
  };
  const registry = await serve();
  const part = await pack(folder, 'part', { 'package/package.json': '{"name":"part","version":"1.0.0"}' });
  const integrity = `sha512-${createHash('sha512').update(part).digest('base64')}`;
  registry.files.set('/part/-/part-1.0.0.tgz', part);
  const dist = { integrity, tarball: `${registry.url}/part/-/part-1.0.0.tgz` };
  registry.files.set(
    '/part',
    JSON.stringify({ name: 'part', 'dist-tags': { latest: '1.0.0' }, versions: { '1.0.0': { name: 'part', version: '1.0.0', dist } } }),
  );
  const own = { name: 'entry-test', version: '1.0.0', dependencies: { part: '1.0.0' } };
  await writeFile(`${path}/package.json`, JSON.stringify({ ...own, type: 'module' }));
  const packages = { '': own, 'node_modules/part': { version: '1.0.0', integrity } };
  const lock = JSON.stringify({ name: 'entry-test', version: '1.0.0', lockfileVersion: 3, packages });
  await writeFile(`${path}/package-lock.json`, lock);

  const project: EntryProject = {
    folder,
    path,
    lock,
    registry,
    serve,
    async have(...names) {
      for (const name of names) await project.haveAt(name, (await execa('which', [name])).stdout);
    },
    haveAt: (name, target) => symlink(target, `${folder}/bin/${name}`),
    async haveNode() {
      await project.haveAt('node', process.execPath);
      await project.have('npm');
    },
    command: (words = [], env = {}) => ({
      argv: [`${path}/部署.sh`, ...words],
      env: { PATH: `${folder}/bin`, HOME: folder, NPM_CONFIG_REGISTRY: registry.url, npm_config_fetch_retries: '0', ...env },
    }),
    async run(words, env, before = []) {
      const wanted = project.command(words, env);
      const [program, ...rest] = [...before, ...wanted.argv];
      const result = await execa(program ?? '', rest, { env: wanted.env, extendEnv: false, reject: false, cwd: '/', timeout: 120_000 });
      return { code: result.exitCode ?? -1, out: result.stdout, err: result.stderr };
    },
    async remove() {
      for (const server of servers) server.close();
      await rm(folder, { recursive: true, force: true });
    },
  };
  await project.have(...bareTools);
  return project;
}

/** A tar archive of files given by name; a text that starts with `→` is a link. */
export async function pack(folder: string, name: string, files: Readonly<Record<string, string>>): Promise<Buffer> {
  const tree = `${folder}/pack-${name}`;
  for (const [file, text] of Object.entries(files)) {
    await mkdir(resolve(tree, file, '..'), { recursive: true });
    if (text.startsWith('→')) await symlink(text.slice(1), `${tree}/${file}`);
    else await writeFile(`${tree}/${file}`, text, { mode: 0o755 });
  }
  await execa('tar', ['-czf', `${tree}.tgz`, '-C', tree, '.', '--transform', 's,^\\./,,']);
  const bytes = await readFile(`${tree}.tgz`);
  await rm(tree, { recursive: true });
  return bytes;
}

async function listen(): Promise<Answers> {
  const asked: string[] = [];
  const files = new Map<string, Uint8Array | string | null>();
  const server: Server = createServer((request, response) => {
    const path = request.url ?? '';
    asked.push(path);
    const answer = files.get(path);
    if (answer === null) return;
    if (answer === undefined) response.writeHead(404).end();
    else response.end(answer);
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  return {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`,
    asked,
    files,
    close() {
      server.closeAllConnections();
      server.close();
    },
  };
}
