import { spawnSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { copyFileSync, existsSync, globSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { BuildOptions, Plugin } from 'esbuild';

/**
 * Node's modules are loaded when something of them is first used: TLS and HTTP/2 take 20 ms, and much is imported for what hardly
 * ever happens. `import` would even read every export, and some load a lot more (of `node:http` all of undici: 50 ms, 5 MB).
 * What is a function, or the process, is itself; what packages require is so too but for the slow ones.
 * pino only wants to know of workers that it runs in none, which holds for all of ours.
 */
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    const slow = new Set(['node:assert', 'node:crypto', 'node:http2', 'node:https', 'node:tls', 'node:worker_threads']);
    const known: Readonly<Record<string, string>> = { 'node:worker_threads': '{ isMainThread: { value: true } }' };
    // A script cannot import this one, which is not bundled, either.
    onResolve({ filter: /^@livekit\/rtc-node$/ }, ({ path, kind }) => (kind === 'import-statement' ? { path, namespace: 'lazy-builtins' } : null));
    onResolve({ filter: /./ }, ({ path, kind, namespace }) => {
      if (!isBuiltin(path) || namespace === 'lazy-builtins') return null;
      const full = path.startsWith('node:') ? path : `node:${path}`;
      return kind === 'import-statement' || (kind === 'require-call' && slow.has(full)) ? { path: full, namespace: 'lazy-builtins' } : null;
    });
    onLoad({ filter: /./, namespace: 'lazy-builtins' }, ({ path }) => {
      const load = `require(${JSON.stringify(path)})`;
      // `assert` as packages use it: a function only where something has gone wrong.
      if (path === 'node:assert')
        return { contents: `module.exports = new Proxy(function () {}, { apply: (_, self, words) => ${load}(...words), get: (_, name) => ${load}[name] });` };
      const isWhole = path === 'node:process' || typeof process.getBuiltinModule(path) === 'function';
      // Bundled imports copy a module's own names, of which this has none, and look up the others in what it inherits from.
      // Kept once it is loaded: `require` takes longer than what is called.
      return {
        contents: `let loaded;\nmodule.exports = ${isWhole ? load : `Object.create(new Proxy({}, { get: (_, name) => (loaded ??= ${load})[name] }), ${known[path] ?? '{}'})`};`,
      };
    });
  },
};

/**
 * ioredis adds 600 methods to a class one by one, and V8 copies the class's list of names each time: 20 ms, 4 MB.
 * A class that has lost a name is a hash table instead.
 */
const quickIoredis: Plugin = {
  name: 'quick-ioredis',
  setup({ onLoad }) {
    onLoad({ filter: /\/ioredis\/built\/utils\/Commander\.js$/ }, ({ path }) => {
      const text = readFileSync(path, 'utf8');
      const contents = text.replace('commands.forEach(', 'Commander.prototype._ = 0;\ndelete Commander.prototype._;\n$&');
      if (contents === text) throw new Error(`${path}: does not add its commands as it did`);
      return { contents };
    });
  },
};

/**
 * What packages load at every start for what our programs never do: their modules, as far as something asks for them. An eighth of the
 * agent's text; with what those load in turn, 2 ms of the start of agent and service each.
 */
const spared: Readonly<Record<string, string>> = {
  // It writes to terminals what DEBUG names; parts have neither.
  'debug/src/index.js': 'const silent = () => silent;\nsilent.enabled = false;\nsilent.default = silent;\nmodule.exports = silent;',
  // Redis Cluster: ours has one primary, which Sentinel names.
  'ioredis/built/cluster/index.js': 'exports.default = class Cluster {};',
  // Other threads that write logs.
  'pino/lib/transport.js': "module.exports = () => { throw new Error('the log goes to the standard output'); };",
  // Which version of Fastify a plugin wants.
  'semver/index.js': ['gt', 'coerce', 'satisfies']
    .map((name) => `Object.defineProperty(exports, '${name}', { get: () => require('./functions/${name}.js') });`)
    .join('\n'),
};
/** Those of them that no package asked for: what it asks for now may be left out no more. */
const unmet = new Set(Object.keys(spared));
const spareModules: Plugin = {
  name: 'spare-modules',
  setup({ onLoad }) {
    for (const [file, contents] of Object.entries(spared))
      onLoad({ filter: new RegExp(`/node_modules/${file}$`) }, ({ path }) => {
        unmet.delete(file);
        return { contents, resolveDir: dirname(path) };
      });
  },
};

/**
 * What few commands need stands in files of its own beside the CLI, which reads and unpacks all of its text with every command:
 * of these that would be 5 ms.
 */
const apart = ['execa', 'ioredis', 'pg'];
const asFile: Plugin = {
  name: 'as-file',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: new RegExp(`^(${apart.join('|')})$`) }, ({ path, kind }) => (kind === 'entry-point' ? null : { path, namespace: 'as-file' }));
    onResolve({ filter: /./, namespace: 'as-file' }, ({ path }) => ({ path, external: true }));
    onLoad({ filter: /./, namespace: 'as-file' }, ({ path }) => ({ contents: `module.exports = require('./${path}.cjs');` }));
  },
};

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const entries = ['cli', 'agent', 'service', 'meeting', 'drill'];
/** Long enough for either to start, and to find nobody; it is asked to end then. */
const MOMENT_MS = 1_500;
const LONGEST_MOMENT_MS = 60_000;
const stampPath = `${root}/dist/stamp`;
// A little back, since file systems date by a clock of some milliseconds: a source changed from now on is newer than the stamp.
const started = Date.now() / 1000 - 0.02;
const hash = createHash('sha256');
for (const file of [...globSync('src/**/*.{ts,cjs}', { cwd: root }).toSorted(), 'scripts/build.ts', 'package-lock.json']) {
  hash.update(file).update(readFileSync(`${root}/${file}`));
}
const stamp = hash.digest('hex');
const isBuilt = existsSync(stampPath) && readFileSync(stampPath, 'utf8') === stamp && entries.every((name) => existsSync(`${root}/dist/${name}.cjs`));

if (process.argv.includes('--check')) {
  process.exitCode = isBuilt ? 0 : 1;
} else {
  if (!isBuilt || process.argv.includes('--force')) await bundle();
  writeFileSync(`${stampPath}.${process.pid}`, stamp);
  utimesSync(`${stampPath}.${process.pid}`, started, started);
  renameSync(`${stampPath}.${process.pid}`, stampPath);
}

/** Whether these are the product's sources, and not a test's. */
function hasProduct(): boolean {
  return existsSync(`${root}/src/render/app.ts`);
}

/** What the two need to start, with nothing to reach; null where there are none of the product's sources. */
async function renderConfigs(folder: string): Promise<Record<'agent' | 'service', string> | null> {
  if (!hasProduct()) return null;
  const [{ renderAgent, renderService }, { parseSettings }, { planTopology }] = await Promise.all([
    import('../src/render/app.ts'),
    import('../src/settings/parse.ts'),
    import('../src/topology/topology.ts'),
  ]);
  const ports = [...(await freePorts(2)), 1, 2, 3, 4];
  const names = ['AGENT_PORT', 'SERVICE_PORT', 'REDIS_PORT', 'SENTINEL_PORT', 'LIVEKIT_HTTP_PORT', 'METRICS_PORT'];
  const secrets = { LIVEKIT_API_KEY: 'build', LIVEKIT_API_SECRET: 'b'.repeat(32), REDIS_PASSWORD: 'build', SERVICE_API_TOKEN: 'b'.repeat(32) };
  const variables = { DATA_DIR: folder, ...secrets, ...Object.fromEntries(names.map((name, index) => [name, String(ports[index])])) };
  const { settings, problems } = parseSettings('', variables);
  if (settings === null) throw new Error(`the build's settings: ${JSON.stringify(problems)}`);
  const topology = planTopology(settings, 'all', { addresses: [], hasSystemd: false, hasNft: false });
  for (const name of ['agent', 'service']) mkdirSync(`${topology.layout.state}/${name}`, { recursive: true });
  return { agent: renderAgent(settings, topology, '').content, service: renderService(settings, topology).content };
}

/** Ports of this machine that nobody has at this moment. */
async function freePorts(count: number): Promise<number[]> {
  const servers = await Promise.all(
    Array.from({ length: count }, async () => {
      const server = createServer().listen(0, '127.0.0.1');
      await once(server, 'listening');
      return server;
    }),
  );
  const ports = servers.map((server) => (server.address() as AddressInfo).port);
  for (const server of servers) server.close();
  return ports;
}

/** Each program begins with its main.ts. */
function points(names: readonly string[]): Record<string, string> {
  return Object.fromEntries(names.map((name) => [name, `src/${name}/main.ts`]));
}

/** The starter reads a program as Latin-1, which V8 keeps in half the memory; esbuild leaves characters beyond ASCII in regular expressions. */
function inAscii(text: string): string {
  return text.replaceAll(/[\u0080-\uFFFF]/g, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`);
}

/** Builds in memory and moves each whole file into place; without the stamp, nobody takes what a killed build leaves. */
async function bundle(): Promise<void> {
  const { build } = await import('esbuild');
  const common = {
    absWorkingDir: root,
    outdir: 'dist',
    write: false as const,
    bundle: true,
    platform: 'node' as const,
    target: 'node24',
    // V8 keeps the whole text in memory for as long as the program runs.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'external' as const,
    // After the first two, what Fastify requires for JSON schemas and for requests without a network: the service has neither.
    external: ['@livekit/rtc-node', 'esbuild', '@fastify/ajv-compiler', '@fastify/fast-json-stringify-compiler', 'light-my-request'],
    logLevel: 'warning' as const,
  } satisfies BuildOptions & { write: false };
  const program = {
    ...common,
    format: 'esm' as const,
    // No module, but a script for starter.cjs, which names the sources in its first line. What an import would be is required.
    // To ask `performance` for the first time takes 1 ms, for nine modules of Node that measure other things.
    define: { 'import.meta.url': '__url', 'import.meta.dirname': '__dirname', 'performance.now': '__now' },
    banner: {
      js: `// ${stamp}\n(async (require, __url, __filename, __dirname) => {const __start = process.hrtime.bigint(), __now = () => Number(process.hrtime.bigint() - __start) / 1e6;`,
    },
    footer: { js: '})' },
  } satisfies BuildOptions & { write: false };
  const plugins = [lazyBuiltins, quickIoredis, spareModules];
  const built = await Promise.all([
    build({ ...program, entryPoints: points(entries.filter((name) => name !== 'cli')), plugins }),
    build({ ...program, entryPoints: points(['cli']), plugins: [...plugins, asFile] }),
    build({ ...common, entryPoints: Object.fromEntries(apart.map((name) => [name, name])), format: 'cjs', outExtension: { '.js': '.cjs' }, plugins }),
  ]);
  if (hasProduct() && unmet.size > 0) throw new Error(`left out of the bundles, but nowhere in them: ${[...unmet].join(', ')}`);
  mkdirSync(`${root}/dist`, { recursive: true });
  rmSync(stampPath, { force: true });
  for (const { path, text } of built.flatMap((one) => one.outputFiles)) {
    writeFileSync(`${path}.${process.pid}`, inAscii(text));
    renameSync(`${path}.${process.pid}`, path);
  }
  for (const name of entries) copyFileSync(`${root}/src/starter.cjs`, `${root}/dist/${name}.cjs`);
  // These are compiled as they run for a moment in a fleet of nobody else; the CLI keeps what each command compiled.
  const folder = mkdtempSync(`${tmpdir()}/livekit-fleet-build-`);
  try {
    const configs = await renderConfigs(folder);
    for (const name of ['agent', 'service'] as const) {
      const words = configs === null ? [] : ['--config', `${folder}/${name}.json`];
      if (configs !== null) writeFileSync(`${folder}/${name}.json`, configs[name]);
      const env = { FLEET_COMPILED: `${root}/dist/compiled` };
      rmSync(`${root}/dist/compiled.${name}`, { force: true });
      // One that is asked to end before it has begun, on a machine that is busy, leaves nothing.
      for (let timeout = MOMENT_MS; timeout <= LONGEST_MOMENT_MS && !existsSync(`${root}/dist/compiled.${name}`); timeout *= 3)
        spawnSync(process.execPath, [`${root}/dist/${name}.cjs`, ...words], { env, stdio: 'ignore', timeout });
      renameSync(`${root}/dist/compiled.${name}`, `${root}/dist/${name}.compiled`);
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
