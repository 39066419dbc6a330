import { execa } from 'execa';
import { spawn } from 'node:child_process';
import type { ChildProcessWithoutNullStreams } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync } from 'node:fs';
import { mkdir, mkdtemp, open, readFile, rename, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';
import { needPrograms } from '../debian-packages.ts';
import type { Ran } from '../e2e/installation.ts';
import { until } from '../e2e/installation.ts';
import { inTurn } from '../in-turn.ts';

const root = resolve(import.meta.dirname, '../..');
/** What a bare server has; the machines have no way to the outside, so Redis's own libraries come with the image. */
const imagePackages = 'systemd,systemd-sysv,dbus,iproute2,nftables,ca-certificates,procps,curl,redis-server,sudo';
/** Built anew when the list changes. */
const image = `${root}/.cache/debian-bookworm-${createHash('sha256').update(imagePackages).digest('hex').slice(0, 8)}`;
/** Far more than the machines of all labs need. */
const INSTANCES = 1_024;

/** A Debian machine with its own systemd, address, network and disk (systemd-nspawn). */
export interface Machine {
  /** Runs a command inside. */
  exec(argv: readonly string[], env?: Readonly<Record<string, string>>): Promise<Ran>;
  /** Writes a file inside. */
  write(path: string, text: string): Promise<void>;
  /** Pulls the plug: no shutdown, the disk stays. */
  kill(): Promise<void>;
  /** Ends it in order, as `systemctl poweroff` does. */
  shutDown(): Promise<void>;
  /** Boots it (again) and waits until systemd is done. */
  boot(): Promise<void>;
  /** Loses every packet to and from another machine, without a word, until the returned function is called. */
  cutFrom(other: number): Promise<() => Promise<void>>;
}

/** Machines 192.168.1.N on a private switch of their own. */
export interface Lab {
  machine(number: number): Machine;
  /** A computer of a user on the same switch, at 192.168.1.200: argv runs in its network, and DOMAIN leads to machine 1. */
  client(argv: readonly string[], env?: Readonly<Record<string, string>>): ChildProcessWithoutNullStreams;
  /** Stops all machines and removes their disks and networks. */
  remove(): Promise<void>;
}

/**
 * Boots machines, each with this checkout at /opt/livekit-fleet (read-only) and a component store at /opt/components.
 * Needs root, and installs what it needs from Debian. Two labs never meet: names are their own.
 */
export async function createLab(options: { machines: readonly number[]; componentStore: string }): Promise<Lab> {
  await inTurn('image', buildImage);
  await allowInstances();
  const id = randomBytes(3).toString('hex');
  const folder = await mkdtemp(`${tmpdir()}/fleet-lab-`);
  const switchName = `lf${id}s`;
  const clientName = `lf${id}u`;
  await run('ip', 'netns', 'add', switchName);
  await run('ip', '-n', switchName, 'link', 'add', 'br0', 'type', 'bridge');
  await run('ip', '-n', switchName, 'link', 'set', 'br0', 'up');
  const machines = new Map<number, Machine & { destroy: () => Promise<void> }>();
  const lab: Lab = {
    machine(number) {
      const found = machines.get(number);
      if (found === undefined) throw new Error(`no machine ${number} in this lab`);
      return found;
    },
    client: (argv, env = {}) => spawn('ip', ['netns', 'exec', clientName, ...argv], { env: { PATH: process.env['PATH'], ...env } }),
    async remove() {
      // What one machine leaves must not keep the others, nor the network.
      const removed = await Promise.allSettled([...machines.values()].map((machine) => machine.destroy()));
      await rm(`/etc/netns/${clientName}`, { recursive: true, force: true });
      await run('ip', 'netns', 'del', clientName).catch(() => {});
      await run('ip', 'netns', 'del', switchName);
      for (const one of removed) if (one.status === 'rejected') throw one.reason;
      await rm(folder, { recursive: true, force: true });
    },
  };
  try {
    await plug({ name: clientName, id, port: 'u', switchName, address: '192.168.1.200' });
    // `ip netns exec` puts these files over those of /etc.
    await mkdir(`/etc/netns/${clientName}`, { recursive: true });
    await writeFile(`/etc/netns/${clientName}/hosts`, '127.0.0.1 localhost\n192.168.1.1 livekit.example.com\n192.168.1.2 turn2.example.com\n');
    for (const number of options.machines) {
      machines.set(number, await plugIn({ number, id, folder: `${folder}/${number}`, switchName, componentStore: options.componentStore }));
    }
    await Promise.all(options.machines.map((number) => lab.machine(number).boot()));
  } catch (error) {
    // Why it did not come up matters more than what it leaves.
    await lab.remove().catch(() => {});
    throw error;
  }
  return lab;
}

/** Each machine's systemd, logind and dbus have inotify instances, seven in all, and the kernel counts those of all machines as one user's. */
async function allowInstances(): Promise<void> {
  const path = '/proc/sys/fs/inotify/max_user_instances';
  if (Number(await readFile(path, 'utf8')) < INSTANCES) await writeFile(path, String(INSTANCES));
}

/** Builds the image once; kept between runs. */
async function buildImage(): Promise<void> {
  await needPrograms({ 'systemd-nspawn': 'systemd-container', debootstrap: 'debootstrap', ip: 'iproute2', nft: 'nftables' });
  if (existsSync(image)) return;
  await mkdir(`${root}/.cache`, { recursive: true });
  const temp = await mkdtemp(`${root}/.cache/.debian-`);
  await run('debootstrap', '--variant=minbase', `--include=${imagePackages}`, 'bookworm', temp);
  await run('chroot', temp, 'systemctl', '-q', 'disable', 'redis-server');
  await writeFile(`${temp}/etc/hosts`, '127.0.0.1 localhost\n');
  await run('chmod', '755', temp);
  await rename(temp, image);
}

async function plugIn(options: {
  number: number;
  id: string;
  folder: string;
  switchName: string;
  componentStore: string;
}): Promise<Machine & { destroy: () => Promise<void> }> {
  const { number, id, folder, switchName, componentStore } = options;
  const name = `lf${id}m${number}`;
  const disk = `${folder}/root`;
  let pid: number | null = null;
  /** The machine's own PID 1, as this computer counts, once it has booted. */
  let init: string | null = null;

  for (const part of ['disk', 'work', 'root']) await mkdir(`${folder}/${part}`, { recursive: true });
  await run('mount', '-t', 'overlay', 'overlay', '-o', `lowerdir=${image},upperdir=${folder}/disk,workdir=${folder}/work`, disk);
  await writeFile(`${disk}/etc/hostname`, `m${number}\n`);
  await plug({ name, id, port: String(number), switchName, address: `192.168.1.${number}` });

  async function inner(): Promise<string> {
    if (pid === null) throw new Error(`machine ${number} is off`);
    const { stdout } = await execa('pgrep', ['-P', String(pid)]);
    return stdout.split('\n')[0] ?? '';
  }

  async function exec(argv: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> {
    const words = Object.entries(env).map(([key, value]) => `${key}=${value}`);
    const clean = ['env', '-i', 'PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin', 'LANG=C.UTF-8', ...words];
    const result = await execa('nsenter', ['-t', init ?? (await inner()), '-m', '-u', '-i', '-n', '-p', '--', ...clean, ...argv], {
      reject: false,
      timeout: 300_000,
    });
    return { code: result.exitCode ?? -1, out: result.stdout, err: result.stderr };
  }

  async function cable(state: 'up' | 'down'): Promise<void> {
    await run('ip', '-n', switchName, 'link', 'set', portOf(id, String(number)), state);
  }

  const machine = {
    exec,
    async write(path: string, text: string) {
      await writeFile(`${disk}${path}`, text);
    },
    async kill() {
      // First the cable: the kernel ends the connections of killed processes, which a machine without power cannot.
      await cable('down');
      init = null;
      process.kill(Number(await inner()), 'SIGKILL');
      const ended = pid;
      pid = null;
      await until(async () => !existsSync(`/proc/${ended}`), 20_000);
      await forgetConnections(name);
    },
    async shutDown() {
      await exec(['systemctl', 'poweroff']);
      const ended = pid;
      await until(async () => !existsSync(`/proc/${ended}`), 60_000);
      [pid, init] = [null, null];
    },
    async boot() {
      await cable('up');
      const log = await open(`${folder}/console.log`, 'a');
      const child = spawn(
        'systemd-nspawn',
        ['-q', '-D', disk, '--boot', '--register=no', '--keep-unit', `--machine=${name}`, '--link-journal=no', '--resolv-conf=off']
          .concat(`--network-namespace-path=/var/run/netns/${name}`, '--capability=CAP_NET_ADMIN')
          .concat(`--bind-ro=${root}:/opt/livekit-fleet`, `--bind=${componentStore}:/opt/components`),
        { stdio: ['ignore', log.fd, log.fd], detached: true },
      );
      pid = child.pid ?? null;
      await log.close();
      await until(async () => /^(running|degraded)/.test((await exec(['systemctl', 'is-system-running']).catch(() => ({ out: '' }))).out), 60_000);
      init = await inner();
    },
    async cutFrom(other: number) {
      // Each drops what comes: a program that sends is not told, as it would be if its own packets were refused.
      const ends = [
        { within: name, from: other },
        { within: `lf${id}m${other}`, from: number },
      ];
      for (const { within, from } of ends) {
        const chain = `chain input { type filter hook input priority 0; ip saddr 192.168.1.${from} drop; };`;
        await run('ip', 'netns', 'exec', within, 'nft', `table ip cut${from} { ${chain} }`);
      }
      return async () => {
        for (const { within, from } of ends) await run('ip', 'netns', 'exec', within, 'nft', 'delete', 'table', 'ip', `cut${from}`);
      };
    },
    async destroy() {
      // One that has not come up may have ended by itself.
      if (pid !== null && existsSync(`/proc/${pid}`)) await machine.kill();
      await run('umount', disk);
      await run('ip', 'netns', 'del', name);
    },
  };
  return machine;
}

/** The switch's end of a cable. */
function portOf(id: string, port: string): string {
  return `lf${id}b${port}`;
}

/** What a network namespace still wants to send for processes that have ended: a machine that boots knows nothing of it. */
async function forgetConnections(name: string): Promise<void> {
  await run('ip', 'netns', 'exec', name, 'ss', '-K', '-t', '-a');
}

/** A network of its own with one address, plugged into the switch. @param options.port short and unique in the lab */
async function plug({ name, id, port, switchName, address }: Readonly<Record<'name' | 'id' | 'port' | 'switchName' | 'address', string>>): Promise<void> {
  const [inside, outside] = [`lf${id}a${port}`, portOf(id, port)];
  await run('ip', 'netns', 'add', name);
  await run('ip', 'link', 'add', inside, 'netns', name, 'type', 'veth', 'peer', 'name', outside, 'netns', switchName);
  await run('ip', '-n', switchName, 'link', 'set', outside, 'master', 'br0', 'up');
  await run('ip', '-n', name, 'link', 'set', inside, 'name', 'eth0');
  await run('ip', '-n', name, 'addr', 'add', `${address}/24`, 'dev', 'eth0');
  await run('ip', '-n', name, 'link', 'set', 'eth0', 'up');
  await run('ip', '-n', name, 'link', 'set', 'lo', 'up');
}

async function run(program: string, ...words: string[]): Promise<void> {
  await execa(program, words, { stdin: 'ignore' });
}
