import { execa } from 'execa';
import { existsSync } from 'node:fs';
import { inTurn } from './in-turn.ts';

const folders = ['/usr/bin', '/usr/sbin', '/bin', '/sbin'];

/** Installs the Debian package of each program that is missing. One test file at a time looks and installs: a program whose package is half there does not start. */
export async function needPrograms(packageOf: Readonly<Record<string, string>>): Promise<void> {
  const missing = (): string[] => Object.keys(packageOf).filter((name) => !folders.some((folder) => existsSync(`${folder}/${name}`)));
  await inTurn('packages', async () => {
    if (missing().length === 0) return;
    const packages = missing().map((name) => packageOf[name] ?? name);
    const install = `apt-get update -qq && exec apt-get install -y -qq --no-install-recommends "$@"`;
    await execa('sh', ['-c', install, 'sh', ...packages], { env: { DEBIAN_FRONTEND: 'noninteractive' }, timeout: 600_000 });
    if (missing().length > 0) throw new Error(`apt-get installed ${packages.join(', ')}, but ${missing().join(', ')} is not there`);
  });
}
