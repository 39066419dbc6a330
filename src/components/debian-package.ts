import { chmod, mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { DebianSource } from './catalogue.ts';
import { lastLine } from './run-command.ts';
import type { CommandResult } from './run-command.ts';
import type { SourceContext, SourceResult } from './source-context.ts';
import { SourceError } from './source-error.ts';

/** Unpacking these beside the system's own would mix two C libraries in one process. */
const systemLibraries = /^(libc6|libc-bin|libcrypt1|libgcc-s1|libstdc\+\+6|gcc-\d+-base)_/;

/**
 * Downloads Debian packages (with the libraries that the system lacks) and unpacks them into the stage. Nothing is
 * installed, so no maintainer script runs and no system service starts. `bin/` gets a launcher for each binary.
 */
export async function bringDebian(source: DebianSource, context: SourceContext): Promise<SourceResult> {
  const archives = join(context.scratch, 'archives');
  await mkdir(join(archives, 'partial'), { recursive: true });
  const keep = ['-o', `Dir::Cache::archives=${archives}`, '-o', 'Debug::NoLocking=true'];
  const download = ['install', '-y', '--download-only', '--reinstall', '--no-install-recommends', ...keep, ...source.packages];
  context.progress(`apt-get download ${source.packages.join(' ')}`);
  await context.oneApt(() => runApt(download, context));
  const packages = (await readdir(archives)).filter((file) => file.endsWith('.deb') && !systemLibraries.test(file));
  for (const file of packages) await must(context, ['dpkg-deb', '-x', join(archives, file), context.stage]);
  const main = packages.find((file) => file.startsWith(`${source.packages[0] ?? ''}_`));
  if (main === undefined) throw new SourceError('apt-get downloaded nothing');
  const { stdout } = await must(context, ['dpkg-deb', '-f', join(archives, main), 'Version']);
  await chmod(context.stage, 0o755);
  const binaries = await writeLaunchers(context);
  // `5:7.0.15-1~deb12u10` → `7.0.15-1~deb12u10`: a colon has no place in a path that ends up in PATH.
  return { version: stdout.trim().replace(/^\d+:/, ''), binaries };
}

/** Runs apt-get; with old package lists they are fetched and it is tried once more. Throws SourceError. */
export async function runApt(args: readonly string[], context: Pick<SourceContext, 'run' | 'signal'>): Promise<void> {
  const options = { signal: context.signal, timeoutMs: 300_000, env: { DEBIAN_FRONTEND: 'noninteractive', LC_ALL: 'C' } };
  const apt = (words: readonly string[]): Promise<CommandResult> =>
    context.run(['apt-get', '-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=10', ...words], options);
  const first = await apt(args);
  if (first.code === 0) return;
  if (first.code === 127) throw new SourceError('apt-get is not on this machine');
  await apt(['update']);
  const second = await apt(args);
  if (second.code !== 0) throw new SourceError(`apt-get: ${lastLine(second)}`);
}

/** A launcher finds its own folder without starting another process, so the component may be moved; the unpacked libraries go before the system's. */
async function writeLaunchers(context: SourceContext): Promise<Record<string, string>> {
  const files = await readdir(context.stage, { recursive: true });
  const libraries = [...new Set(files.filter((file) => /\.so(\.\d+)*$/.test(file)).map((file) => file.slice(0, file.lastIndexOf('/'))))].toSorted();
  await mkdir(join(context.stage, 'bin'), { recursive: true });
  const binaries: Record<string, string> = {};
  for (const name of context.component.binaries) {
    const program = ['usr/bin', 'usr/sbin', 'sbin'].map((folder) => `${folder}/${name}`).find((path) => files.includes(path));
    if (program === undefined) throw new SourceError(`the packages have no ${name}`);
    if (libraries.length === 0) {
      binaries[name] = program;
      continue;
    }
    binaries[name] = `bin/${name}`;
    await writeFile(join(context.stage, 'bin', name), launcher(program, libraries), { mode: 0o755 });
    await chmod(join(context.stage, 'bin', name), 0o755);
  }
  return binaries;
}

/** The path given to exec ends in the program's name: redis-server is a link to redis-check-rdb, which looks at argv[0]. */
function launcher(program: string, libraries: readonly string[]): string {
  const paths = libraries.map((folder) => `$root/${folder}`).join(':');
  return `#!/bin/sh
self=$0
[ -L "$self" ] && self=$(readlink -f "$self")
root="\${self%/*}/.."
LD_LIBRARY_PATH="${paths}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$root/${program}" "$@"
`;
}

async function must(context: SourceContext, argv: readonly string[]): Promise<CommandResult> {
  const result = await context.run(argv, { signal: context.signal, timeoutMs: 60_000 });
  if (result.code !== 0) throw new SourceError(`${argv[0]}: ${lastLine(result)}`);
  return result;
}
