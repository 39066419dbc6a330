import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, renameSync, rmSync, utimesSync, writeFileSync } from 'node:fs';
import { isBuiltin } from 'node:module';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { Plugin } from 'esbuild';

/**
 * `import` of one of Node's modules reads every export of it, and some of those load a lot more (of `node:http` all of
 * undici: 50 ms, 5 MB); `require` reads none. Node: lib/internal/bootstrap/realm.js (getESMFacade).
 */
const lazyBuiltins: Plugin = {
  name: 'lazy-builtins',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /./ }, ({ path, kind }) => (kind === 'import-statement' && isBuiltin(path) ? { path, namespace: 'lazy-builtins' } : null));
    onLoad({ filter: /./, namespace: 'lazy-builtins' }, ({ path }) => ({ contents: `module.exports = require(${JSON.stringify(path)});` }));
  },
};

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const entries = ['cli', 'agent', 'service', 'meeting'];
const stampPath = `${root}/dist/stamp`;
// A little back, since file systems date by a clock of some milliseconds: a source changed from now on is newer than the stamp.
const started = Date.now() / 1000 - 0.02;
const hash = createHash('sha256');
for (const file of [...globSync('src/**/*.ts', { cwd: root }).toSorted(), 'scripts/build.ts', 'package-lock.json']) {
  hash.update(file).update(readFileSync(`${root}/${file}`));
}
const stamp = hash.digest('hex');
const isBuilt = existsSync(stampPath) && readFileSync(stampPath, 'utf8') === stamp && entries.every((name) => existsSync(`${root}/dist/${name}.mjs`));

if (process.argv.includes('--check')) {
  process.exitCode = isBuilt ? 0 : 1;
} else {
  if (!isBuilt || process.argv.includes('--force')) await bundle();
  writeFileSync(`${stampPath}.${process.pid}`, stamp);
  utimesSync(`${stampPath}.${process.pid}`, started, started);
  renameSync(`${stampPath}.${process.pid}`, stampPath);
}

/** Builds in memory and moves each whole file into place; without the stamp, nobody takes what a killed build leaves. */
async function bundle(): Promise<void> {
  const { build } = await import('esbuild');
  const { outputFiles } = await build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(entries.map((name) => [name, `src/${name}/main.ts`])),
    outdir: 'dist',
    outExtension: { '.js': '.mjs' },
    write: false,
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // V8 keeps the whole text in memory for as long as the program runs.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'external',
    external: ['@livekit/rtc-node', 'esbuild'],
    plugins: [lazyBuiltins],
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url); const __filename = import.meta.filename; const __dirname = import.meta.dirname;",
    },
    logLevel: 'warning',
  });
  mkdirSync(`${root}/dist`, { recursive: true });
  rmSync(stampPath, { force: true });
  for (const { path, contents } of outputFiles) {
    writeFileSync(`${path}.${process.pid}`, contents);
    renameSync(`${path}.${process.pid}`, path);
  }
}
