import { execa } from 'execa';
import { existsSync } from 'node:fs';

const folders = ['/usr/bin', '/usr/sbin', '/bin', '/sbin'];

/** Installs the Debian package of each program that is missing. One test file at a time: apt takes locks and does not wait for them. */
export async function needPrograms(packageOf: Readonly<Record<string, string>>): Promise<void> {
  const missing = (): string[] => Object.keys(packageOf).filter((name) => !folders.some((folder) => existsSync(`${folder}/${name}`)));
  if (missing().length === 0) return;
  const packages = missing().map((name) => packageOf[name] ?? name);
  const install = `apt-get update -qq && exec apt-get install -y -qq --no-install-recommends "$@"`;
  await execa('flock', ['/run/lock/livekit-fleet-test-packages', 'sh', '-c', install, 'sh', ...packages], {
    env: { DEBIAN_FRONTEND: 'noninteractive' },
    timeout: 600_000,
  });
  if (missing().length > 0) throw new Error(`apt-get installed ${packages.join(', ')}, but ${missing().join(', ')} is not there`);
}
