import { spawnSync } from 'node:child_process';
import { globSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { resolve } from 'node:path';
import { build } from 'esbuild';

/** Builds packages/client/dist, which `npm pack` takes: one module for Node and browsers, and its types. */
const folder = resolve(import.meta.dirname, '../packages/client');
rmSync(`${folder}/dist`, { recursive: true, force: true });
await build({
  absWorkingDir: folder,
  entryPoints: ['src/index.ts'],
  outfile: 'dist/index.js',
  bundle: true,
  platform: 'neutral',
  format: 'esm',
  target: 'es2022',
  logLevel: 'warning',
});
const { status } = spawnSync(process.execPath, [resolve(folder, '../../node_modules/typescript/bin/tsc'), '-p', folder], { stdio: 'inherit' });
// Types are found beside the JavaScript that an import names.
for (const path of globSync(`${folder}/dist/*.d.ts`)) writeFileSync(path, readFileSync(path, 'utf8').replaceAll(/(from '\.\/\w+)\.ts'/g, "$1.js'"));
process.exitCode = status ?? 1;
