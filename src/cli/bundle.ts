import { existsSync, readFileSync, statSync } from 'node:fs';
import { basename, join, resolve } from 'node:path';
import { checkTarget } from '../bundle/archive.ts';
import { makeBundle } from '../bundle/bundle.ts';
import { componentNames } from '../components/catalogue.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { bring, storeFolder } from './prepare.ts';

/** What `bundle` was told: where to (a file, a folder, or undefined for the current folder), and how. */
interface Given {
  readonly out: string | undefined;
  readonly isForced: boolean;
  readonly isDryRun: boolean;
}

/**
 * Makes the archive from which machines of this architecture are deployed without network; brings all components first.
 * @throws FleetError OUTPUT_EXISTS, OUTPUT_UNWRITABLE, COMPONENT_UNAVAILABLE, BUNDLE_INCOMPLETE, DISK_FULL
 */
export async function bundle(context: CliContext, { out, isForced, isDryRun }: Given): Promise<void> {
  const { reporter, projectRoot, signal } = context;
  const { version } = JSON.parse(readFileSync(`${projectRoot}/package.json`, 'utf8')) as { version: string };
  const architecture = process.arch === 'x64' ? 'amd64' : process.arch;
  const name = `livekit-fleet-${version}-linux-${architecture}`;
  const target = targetPath(out, `${name}.tar.gz`);
  await checkTarget(target, isForced);
  const { settings: given, topology } = loadSettings(context);
  // Only root may write to the installation's own store.
  const isOwnStore = given.COMPONENT_DIR === '' && process.getuid?.() !== 0;
  const settings = isOwnStore ? { ...given, COMPONENT_DIR: `${projectRoot}/runtime/components` } : given;
  const brought = await bring(context, settings, { topology, names: componentNames, isDryRun });
  if (isDryRun) {
    const components = Object.entries({ ...brought, node: { version: process.versions.node, source: 'node' } }).map(([component, one]) => ({
      name: component,
      version: one.version,
      source: one.source,
    }));
    for (const one of components) reporter.line(`  ${one.name} ${one.version} (${one.source})`);
    reporter.say('BUNDLE_PLANNED', { path: target });
    return reporter.result({ path: target, version, architecture, components });
  }
  const glibc = glibcVersion();
  const made = await makeBundle({
    projectRoot,
    name,
    about: { version, architecture, glibc },
    storeDir: storeFolder(settings, topology),
    components: brought,
    node: { version: process.versions.node, program: process.execPath },
    target,
    emit: reporter.emit,
    signal,
  });
  reporter.line('');
  for (const one of made.components) reporter.line(`  ${one.name} ${one.version} (${one.source})`);
  reporter.say('BUNDLED', { path: target, size: (made.size / 1_000_000).toFixed(1), sha256: made.sha256 });
  reporter.say('NEXT_BUNDLE', { file: basename(target), folder: name, architecture, glibc });
  reporter.result({ path: target, version, architecture, glibc, ...made });
}

/** A folder, or a path that ends in `/`, gets the default name. */
function targetPath(out: string | undefined, name: string): string {
  const given = resolve(out ?? '.');
  const isFolder = out === undefined || out.endsWith('/') || (existsSync(given) && statSync(given).isDirectory());
  return isFolder ? join(given, name) : given;
}

/** What the libraries that are carried along need at most. */
function glibcVersion(): string {
  const { header } = process.report.getReport() as { header: { glibcVersionRuntime?: string } };
  return header.glibcVersionRuntime ?? '?';
}
