import { createHash } from 'node:crypto';
import { existsSync, globSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';
import type { Plugin } from 'esbuild';

/**
 * `import 'node:http'` reads every export of that module, and two of them load all of undici (50 ms, 5 MB);
 * `require` reads none. Node: lib/http.js, lib/internal/bootstrap/realm.js (getESMFacade).
 */
const lazyHttp: Plugin = {
  name: 'lazy-http',
  setup({ onResolve, onLoad }) {
    onResolve({ filter: /^(node:)?https?$/ }, ({ path, kind }) => (kind === 'import-statement' ? { path, namespace: 'lazy-http' } : null));
    onLoad({ filter: /./, namespace: 'lazy-http' }, ({ path }) => ({ contents: `module.exports = require(${JSON.stringify(path)});` }));
  },
};

const root = resolve(dirname(fileURLToPath(import.meta.url)), '..');
const entries = ['cli', 'agent', 'service', 'meeting'];
const hash = createHash('sha256');
for (const file of [...globSync('src/**/*.ts', { cwd: root }).toSorted(), 'package-lock.json', 'scripts/build.ts'])
  hash.update(file).update(readFileSync(`${root}/${file}`));
const stamp = hash.digest('hex');
const isBuilt =
  existsSync(`${root}/dist/stamp`) && readFileSync(`${root}/dist/stamp`, 'utf8') === stamp && entries.every((name) => existsSync(`${root}/dist/${name}.mjs`));
if (!isBuilt || process.argv.includes('--force')) {
  mkdirSync(`${root}/dist`, { recursive: true });
  await build({
    absWorkingDir: root,
    entryPoints: Object.fromEntries(entries.map((name) => [name, `src/${name}/main.ts`])),
    outdir: 'dist',
    outExtension: { '.js': '.mjs' },
    bundle: true,
    platform: 'node',
    format: 'esm',
    target: 'node24',
    // V8 keeps the whole text in memory for as long as the program runs.
    minifySyntax: true,
    minifyWhitespace: true,
    legalComments: 'external',
    external: ['@livekit/rtc-node', 'esbuild'],
    plugins: [lazyHttp],
    banner: {
      js: "import { createRequire as __createRequire } from 'node:module'; const require = __createRequire(import.meta.url); const __filename = import.meta.filename; const __dirname = import.meta.dirname;",
    },
    logLevel: 'warning',
  });
}
writeFileSync(`${root}/dist/stamp`, stamp);
