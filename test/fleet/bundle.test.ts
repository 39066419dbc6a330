import { execa } from 'execa';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab, Machine } from './machines.ts';

const root = resolve(import.meta.dirname, '../..');
/** Of the image only what every Debian has, and the systemd that boots it, stay: no Redis and none of its libraries, no curl, no certificates. */
const makeBare = `apt-mark -qq auto $(dpkg-query -Wf '\${Package} ') && apt-mark -qq manual systemd-sysv dbus apt $(dpkg-query -Wf '\${Package} \${Priority}\n' | sed -n 's/ required$//p') &&
SUDO_FORCE_REMOVE=yes DEBIAN_FRONTEND=noninteractive apt-get -qq -y -o APT::AutoRemove::RecommendsImportant=false autoremove --purge >/dev/null && umount /opt/livekit-fleet /opt/components`;

/** A machine that has a shell and the archive, and no way to any other machine. One story; the order matters. */
describe('a bundle on a bare machine without network', () => {
  let lab: Lab;
  let machine: Machine;
  let shared: string;
  let place: string;
  const fleet = (words: readonly string[]): Promise<Ran> => machine.exec([`${place}/部署.sh`, ...words]);

  const sh = async (script: string): Promise<string> => (await machine.exec(['sh', '-ec', script, 'sh', place])).out.trim();

  beforeAll(async () => {
    // The machines see the checkout.
    await mkdir(`${root}/runtime`, { recursive: true });
    shared = await mkdtemp(`${root}/runtime/bundle-test-`);
    await writeFile(`${shared}/.env`, `COMPONENT_DIR=${inject('componentStore')}\n`);
    const [made] = await Promise.all([
      bundle([`${shared}/b.tar.gz`, '--json']),
      createLab({ machines: [1], componentStore: inject('componentStore') }).then((one) => (lab = one)),
    ]);
    expect(made.code, made.err).toBe(0);
    const told = JSON.parse(made.out) as { sha256: string; version: string; architecture: string; components: Array<{ name: string }> };
    expect(told.components.map((one) => one.name)).toEqual(['caddy', 'livekit', 'node', 'redis', 'runit']);
    machine = lab.machine(1);
    const copied = await machine.exec([
      'sh',
      '-c',
      'cp "$1" /root/b.tar.gz && sha256sum /root/b.tar.gz',
      'sh',
      `/opt/livekit-fleet/${shared.slice(root.length + 1)}/b.tar.gz`,
    ]);
    expect(copied.out, copied.err).toBe(`${told.sha256}  /root/b.tar.gz`);
    place = `/srv/livekit-fleet-${told.version}-linux-${told.architecture}`;
    const bare = await machine.exec(['sh', '-ec', makeBare]);
    expect(bare.code, bare.out + bare.err).toBe(0);
  });

  afterAll(async () => {
    await lab?.remove();
    await rm(shared, { recursive: true, force: true });
  });

  async function bundle(words: readonly string[]): Promise<Ran> {
    const ran = await execa(`${root}/部署.sh`, ['bundle', ...words, '--env', `${shared}/.env`, '--lang', 'en'], { reject: false, stdin: 'ignore' });
    return { code: ran.exitCode ?? -1, out: ran.stdout, err: ran.stderr };
  }

  it('does not overwrite the archive unasked, and a dry run writes none', async () => {
    expect(await bundle([`${shared}/b.tar.gz`])).toMatchObject({
      code: 2,
      err: `✗ ${shared}/b.tar.gz is there already. Name another file, or overwrite it with --force.`,
    });
    const dry = await bundle([shared, '--dry-run', '--json']);
    const { path, components } = JSON.parse(dry.out) as { path: string; components: unknown[] };
    expect([dry.code, path, components.length]).toEqual([0, `${shared}/${place.slice('/srv/'.length)}.tar.gz`, 5]);
    expect((await execa('ls', ['-A', shared])).stdout.split('\n')).toEqual(['.env', 'b.tar.gz']);
  });

  it('unpacks where nothing else is, whole, and for every user', async () => {
    const found = await machine.exec([
      'sh',
      '-c',
      'command -v node npm python3 curl wget git xz zstd redis-server; find /opt -mindepth 2; awk \'$2 == "00000000"\' /proc/net/route; find /usr/lib /etc/ssl -name libjemalloc* -o -name liblzf* -o -name libatomic* -o -name ca-certificates.crt',
    ]);
    expect(found.out).toBe('');
    const unpacked = await machine.exec(['sh', '-ec', 'cd /srv && tar -xzf /root/b.tar.gz && cd "$1" && sha256sum -c --quiet SHA256SUMS', 'sh', place]);
    expect(unpacked, unpacked.err).toMatchObject({ code: 0, out: '', err: '' });
    const version = await machine.exec(['setpriv', '--reuid', '65534', '--regid', '65534', '--clear-groups', `${place}/部署.sh`, 'version']);
    expect(version).toEqual({ code: 0, out: expect.stringMatching(/^\d+\.\d+\.\d+$/), err: '' });
  });

  it('deploys, holds a meeting, and changes nothing the second time', async () => {
    const done = await fleet(['deploy']);
    expect(done, done.err + done.out).toMatchObject({ code: 0, err: '' });
    for (const name of ['livekit', 'caddy', 'redis']) expect(done.out).toMatch(new RegExp(`✓ ${name} \\S+, bundle `));
    const meeting = await fleet(['verify']);
    expect(meeting, meeting.err + meeting.out).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse((await fleet(['deploy', '--json'])).out)).toMatchObject({ changes: [] });
  });

  it('makes a machine the lost one again, with nothing but the bundle and an archive', async () => {
    const made = await fleet(['backup', '--verify', '--to', '/root/kept', '--json']);
    expect(made, made.err).toMatchObject({ code: 0 });
    const archive = (JSON.parse(made.out.trim().split('\n').at(-1) ?? '') as { path: string }).path;
    const told = 'sed -n s/^LIVEKIT_API_SECRET=//p "$1/.env"; sha256sum </var/lib/livekit-fleet/state/caddy/pki/authorities/local/root.crt';
    const before = await sh(told);
    expect(before.split('\n').every((line) => line.length > 20)).toBe(true);
    await sh(
      `systemctl stop 'livekit-fleet-*'; rm -rf /var/lib/livekit-fleet /srv/* /etc/systemd/system/livekit-fleet-* /etc/systemd/system/*/livekit-fleet-*; systemctl daemon-reload; userdel livekit-fleet`,
    );
    await sh('cd /srv; tar -xzf /root/b.tar.gz; test ! -e "$1/.env"');
    const done = await fleet(['restore', archive, '--yes']);
    expect(done, done.err + done.out).toMatchObject({ code: 0, err: '' });
    for (const name of ['livekit', 'caddy', 'redis']) expect(done.out).toMatch(new RegExp(`✓ ${name} \\S+, bundle `));
    expect(await sh(told)).toBe(before);
    const meeting = await fleet(['verify']);
    expect(meeting, meeting.err + meeting.out).toMatchObject({ code: 0, err: '' });
    expect(JSON.parse((await fleet(['deploy', '--json'])).out)).toMatchObject({ changes: [] });
  });

  it('runs Redis with no library of the machine but the C library', async () => {
    const { parts } = JSON.parse((await fleet(['status', '--json'])).out) as { parts: Array<{ part: string; pid: number }> };
    const pid = parts.find((one) => one.part === 'redis')?.pid;
    const { out } = await machine.exec(['sh', '-c', `awk '$6 ~ /\\.so/ { print $6 }' /proc/${pid}/maps | sort -u`]);
    const foreign = out.split('\n').filter((path) => !path.startsWith('/var/lib/livekit-fleet/components/redis/'));
    expect(out).toContain('libssl.so.3');
    expect(foreign.map((path) => path.replace(/.*\//, '').replace(/-x86-64|-aarch64/, ''))).toEqual(['ld-linux.so.2', 'libc.so.6', 'libm.so.6']);
  });
});
