import { existsSync, readFileSync, readdirSync } from 'node:fs';
import { dirname, join } from 'node:path';
import * as z from 'zod';
import { FleetError } from '../kernel/errors.ts';

/** A file or folder that goes into the bundle: its name there, and where it is. */
export interface Item {
  readonly path: string;
  readonly from: string;
}

/** All that the bundle has of the project's own files, where they are there. Never `.env`, whose secrets are the operator's. */
const ownFiles = [
  '部署.sh',
  '监控.sh',
  '故障排查.sh',
  'README.md',
  'README.en.md',
  'CHANGELOG.md',
  'LICENSE',
  '.env.example',
  'package.json',
  'docs',
  'scripts/find-node.sh',
];

/** What dist/ imports at run time (`external` in scripts/build.ts; esbuild only builds). */
const runtimePackages = ['@livekit/rtc-node'];

const packageSchema = z.object({
  dependencies: z.record(z.string(), z.string()).default({}),
  optionalDependencies: z.record(z.string(), z.string()).default({}),
  peerDependencies: z.record(z.string(), z.string()).default({}),
});

/**
 * The project's part of a bundle: entry points, documents, built programs, the packages that those need at run time, and the
 * licences of the packages that were built into them. No package-lock.json: without it the entry points install nothing.
 * @throws FleetError BUNDLE_INCOMPLETE where a package is not installed
 */
export function listProject(root: string): Item[] {
  const own = ownFiles.filter((path) => existsSync(join(root, path)));
  const built = readdirSync(join(root, 'dist'))
    .filter((name) => name === 'stamp' || /\.(cjs|js|compiled|LEGAL\.txt)$/.test(name))
    .map((name) => `dist/${name}`);
  const packages = findPackages(root, runtimePackages).flatMap((folder) =>
    readdirSync(join(root, folder)).flatMap((name) => (name === 'node_modules' ? [] : [`${folder}/${name}`])),
  );
  return [...own, ...built, ...packages].map((path) => ({ path, from: join(root, path) })).concat(listLicences(root));
}

/** Folders of these packages and of all that they need, relative to `root`; found as Node finds them. */
function findPackages(root: string, names: readonly string[]): string[] {
  const found = new Set<string>();
  const add = (name: string, from: string, isNeeded: boolean): void => {
    const folder = resolvePackage(root, name, from);
    if (folder === null && isNeeded) throw new FleetError('BUNDLE_INCOMPLETE', { path: join(root, 'node_modules', name) });
    if (folder === null || found.has(folder)) return;
    found.add(folder);
    const { dependencies, optionalDependencies, peerDependencies } = readPackage(join(root, folder));
    const optional = Object.keys({ ...optionalDependencies, ...peerDependencies });
    for (const one of Object.keys(dependencies)) add(one, folder, !optional.includes(one));
    for (const one of optional) add(one, folder, false);
  };
  for (const name of names) add(name, '', true);
  return [...found].toSorted();
}

/** `node_modules/<name>` of `from` or the nearest folder above it. */
function resolvePackage(root: string, name: string, from: string): string | null {
  const folder = join(from, 'node_modules', name);
  if (existsSync(join(root, folder, 'package.json'))) return folder;
  return from === '' || from === '.' ? null : resolvePackage(root, name, dirname(from));
}

function readPackage(folder: string): z.infer<typeof packageSchema> {
  return packageSchema.parse(JSON.parse(readFileSync(join(folder, 'package.json'), 'utf8')));
}

/** Licence files of the packages whose code is part of dist/; a bundle that was unpacked has them already. */
function listLicences(root: string): Item[] {
  if (existsSync(join(root, 'licenses'))) return [{ path: 'licenses', from: join(root, 'licenses') }];
  const direct = Object.keys(readPackage(root).dependencies).filter((name) => name !== 'node' && name !== 'esbuild');
  return findPackages(root, direct).flatMap((folder) =>
    readdirSync(join(root, folder))
      .filter((name) => /^(licen[cs]e|copying|notice)/i.test(name))
      .map((name) => ({ path: `licenses/${folder.replaceAll('node_modules/', '')}/${name}`, from: join(root, folder, name) })),
  );
}
