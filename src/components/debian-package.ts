import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import type { DebianSource } from './catalogue.ts';
import { writeLaunchers } from './launcher.ts';
import { carryLibraries, findOutsideLibraries } from './shared-libraries.ts';
import type { SourceContext, SourceResult } from './source-context.ts';
import { SourceError } from './source-error.ts';

/** Unpacking these beside the system's own would mix two C libraries in one process. */
const systemLibraries = /^(libc6|libc-bin|libcrypt1|libgcc-s1|libstdc\+\+6|gcc-\d+-base)_/;

/**
 * Downloads Debian packages (with the libraries that the system lacks) and unpacks them into the stage, together with the
 * libraries that the system has: nobody takes those away from it then. Nothing is installed, so no maintainer script runs
 * and no system service starts.
 */
export async function bringDebian(source: DebianSource, context: SourceContext): Promise<SourceResult> {
  const archives = join(context.scratch, 'archives');
  await mkdir(join(archives, 'partial'), { recursive: true });
  // Without locks: other downloads may go on beside it, and so may the system's own updates.
  const keep = ['-o', `Dir::Cache::archives=${archives}`, '-o', 'Debug::NoLocking=true', '-o', 'APT::Sandbox::User=root'];
  const download = ['install', '-y', '--download-only', '--reinstall', '--no-install-recommends', ...keep, ...source.packages];
  const listArchives = async (): Promise<string[]> => (await readdir(archives)).filter((file) => file.endsWith('.deb'));
  // Without package lists apt gives no more than a warning for a package that is installed already.
  await runApt(download, context, async () => (await listArchives()).length > 0);
  const packages = (await listArchives()).filter((file) => !systemLibraries.test(file));
  for (const file of packages) await context.run(['dpkg-deb', '-x', join(archives, file), context.stage], { timeoutMs: 60_000 });
  const main = packages.find((file) => file.startsWith(`${source.packages[0] ?? ''}_`));
  if (main === undefined) throw new SourceError('apt-get downloaded nothing');
  const { stdout } = await context.run(['dpkg-deb', '-f', join(archives, main), 'Version'], { timeoutMs: 60_000 });
  await carryLibraries(context.stage, await findOutsideLibraries(context.stage, context), context);
  const binaries = await writeLaunchers(context.stage, context.component);
  // `5:7.0.15-1~deb12u10` → `7.0.15-1~deb12u10`: a colon has no place in a path that ends up in PATH.
  return { version: stdout.trim().replace(/^\d+:/, ''), binaries };
}

/** Package lists and packages of some 50 MB at 200 KB/s. */
const aptTimeoutMs = 300_000;

/** Runs apt-get; where that fails or `isDone` says no (old package lists) they are fetched and it is tried once more. Throws SourceError. */
export async function runApt(args: readonly string[], context: SourceContext, isDone: () => Promise<boolean>): Promise<void> {
  const options = { timeoutMs: aptTimeoutMs, env: { DEBIAN_FRONTEND: 'noninteractive' }, doing: () => `apt-get ${args.at(-1) ?? ''}` };
  const apt = ['apt-get', '-o', 'Acquire::Retries=1', '-o', 'Acquire::http::Timeout=10', '-o', 'Acquire::https::Timeout=10'];
  const first = await context.ask([...apt, ...args], options);
  if (first.code === 0 && (await isDone())) return;
  if (first.code === 127) throw new SourceError('apt-get is not on this machine');
  await context.shared.refreshPackageLists(async () => {
    // Some lists may be missing and the wanted ones there: the second try tells.
    await context.ask([...apt, 'update'], { ...options, doing: () => 'apt-get update' });
  });
  await context.run([...apt, ...args], options);
}
