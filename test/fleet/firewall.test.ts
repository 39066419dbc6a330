import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';

const ground = 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\n';
const innerPorts = [6379, 26379, 7880, 6789];
const outsider = 9;

/** Machine 1 in front of a fleet that grows, and an outsider on the same switch. One story; the order matters. */
describe('the firewall of a fleet', () => {
  let lab: Lab;
  const fleet = (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);
  /** What a machine gets of another one's port: `open`, `refused` (nobody listens) or `silent`. */
  const knockAt = async (from: number, to: string, port: number): Promise<string> => {
    const { code, err } = await lab.machine(from).exec(['timeout', '1', 'bash', '-c', `exec 3<>/dev/tcp/${to}/${port}`]);
    return code === 0 ? 'open' : /refused/.test(err) ? 'refused' : 'silent';
  };
  const seen = async (from: number, to: string): Promise<string[]> => Promise.all(innerPorts.map((port) => knockAt(from, to, port)));
  const tables = async (number: number): Promise<string[]> => (await lab.machine(number).exec(['nft', 'list', 'tables'])).out.split('\n').filter(Boolean);
  const members = async (number: number): Promise<string[]> =>
    (await lab.machine(number).exec(['nft', 'list', 'set', 'inet', 'livekit_fleet', 'members'])).out.match(/\d+\.\d+\.\d+\.\d+/g) ?? [];
  const stateOf = async (number: number): Promise<string> => (await lab.machine(number).exec(['cat', '/var/lib/livekit-fleet/run/firewall.state'])).out;
  const [open, silent] = [innerPorts.map(() => 'open'), innerPorts.map(() => 'silent')];

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2, 3, 4, outsider], componentStore: inject('componentStore') });
    await lab.machine(1).write('/etc/fleet.env', `${ground}DOMAIN=livekit.example.com\n`);
    await lab.machine(2).write('/etc/fleet.env', `${ground}NODES=localhost\nREDIS_HOST=localhost\n`);
    await lab.machine(1).write('/etc/hosts', '127.0.0.1 localhost\n192.168.1.1 livekit.example.com\n');
    await lab.machine(2).exec(['nft', 'add table inet theirs; add chain inet theirs input { type filter hook input priority 0; policy accept; }']);
  });

  afterAll(async () => {
    await lab.remove();
  });

  it('comes with machine 2, and lets nobody reach its inner ports', async () => {
    expect((await fleet(1, ['deploy-caddy-service-only'])).code).toBe(0);
    const done = await fleet(2, ['deploy-livekit-only']);
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
    await until(async () => (await stateOf(2)) === 'in force', 5_000);
    expect(await tables(2)).toEqual(['table inet theirs', 'table inet livekit_fleet']);
    expect(await seen(outsider, '192.168.1.2')).toEqual(silent);
    expect(await seen(1, '192.168.1.2')).toEqual(silent);
    expect(await knockAt(outsider, '192.168.1.2', 7881)).toBe('open');
    expect(await knockAt(outsider, '192.168.1.1', 443)).toBe('open');
    expect(await knockAt(outsider, '192.168.1.2', 23)).toBe('refused');
  });

  it('lets machine 1 in by the join line alone', async () => {
    const word = /部署\.sh join (\S+)/.exec((await fleet(2, ['deploy-livekit-only'])).out)?.[1] ?? '';
    const joined = await fleet(1, ['join', word]);
    expect(joined.err).toBe('');
    expect(joined.code).toBe(0);
    expect(await members(2)).toContain('192.168.1.1');
    expect(await seen(1, '192.168.1.2')).toEqual(open);
    await until(async () => (await fleet(1, ['verify'], { WEBHOOK_ENABLED: 'false' })).code === 0, 30_000);
  });

  it('lets a client that comes while Caddy restarts wait for it', async () => {
    const one = lab.machine(1);
    await one.exec(['systemctl', 'stop', 'livekit-fleet-caddy']);
    const coming = lab.machine(outsider).exec(['timeout', '20', 'bash', '-c', 'exec 3<>/dev/tcp/192.168.1.1/443']);
    expect(await knockAt(outsider, '192.168.1.1', 443)).toBe('silent');
    expect(await knockAt(1, '127.0.0.1', 443)).toBe('refused');
    await one.exec(['systemctl', 'start', 'livekit-fleet-caddy']);
    expect((await coming).code).toBe(0);
  });

  it('follows a fleet that grows, in any order', async () => {
    const [key, secret] = (await lab.machine(2).exec(['grep', '^LIVEKIT_API_', '/etc/fleet.env'])).out.split('\n');
    for (const number of [3, 4]) {
      // The rules are kept by root's own part, also where runit supervises it.
      const supervisor = number === 4 ? 'SUPERVISOR=processes\n' : '';
      await lab
        .machine(number)
        .write('/etc/fleet.env', `${ground}${supervisor}NODES=192.168.1.2,192.168.1.3,192.168.1.4\nREDIS_HOST=192.168.1.2\n${key}\n${secret}\n`);
      const done = await fleet(number, ['deploy-livekit-only']);
      expect(done.err).toBe('');
      expect(done.code).toBe(0);
    }
    await until(async () => (await members(3)).includes('192.168.1.1') && (await members(2)).includes('192.168.1.4'), 20_000);
    for (const [from, to] of [
      [1, '192.168.1.4'],
      [3, '192.168.1.2'],
      [2, '192.168.1.3'],
    ] as const)
      await until(async () => (await seen(from, to)).every((one) => one === 'open'), 20_000);
    for (const to of ['192.168.1.2', '192.168.1.3', '192.168.1.4']) expect(await seen(outsider, to)).toEqual(silent);
    expect(await members(4)).toEqual(expect.arrayContaining(['192.168.1.1', '192.168.1.2', '192.168.1.3']));
    expect(await stateOf(4)).toBe('in force');
    const done = await fleet(2, ['deploy-livekit-only'], { NODES: '192.168.1.2,192.168.1.3,192.168.1.4' });
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
  });

  it('is there after a power cut, before the agents have met', async () => {
    await lab.machine(3).kill();
    await lab.machine(3).boot();
    await until(async () => (await stateOf(3)) === 'in force', 20_000);
    expect(await members(3)).toContain('192.168.1.1');
    expect(await seen(outsider, '192.168.1.3')).not.toContain('open');
    await until(async () => (await fleet(3, ['status'])).code === 0, 30_000);
    expect(await seen(1, '192.168.1.3')).toEqual(open);
    expect(await seen(outsider, '192.168.1.3')).toEqual(silent);
  });

  it('takes rules back that cut a machine off', async () => {
    const three = lab.machine(3);
    const all = '192.168.1.2,192.168.1.3,192.168.1.4';
    expect((await fleet(2, ['deploy-livekit-only'], { FIREWALL: 'off', NODES: all })).code).toBe(0);
    expect(await tables(2)).toEqual(['table inet theirs']);
    // Machine 3 speaks from an address that nobody has named, and its agent does not say so.
    await three.exec(['systemctl', 'stop', 'livekit-fleet-agent']);
    await three.exec(['nft', 'add table ip nat; add chain ip nat out { type nat hook postrouting priority 100; }; add rule ip nat out snat to 192.168.1.33']);
    await three.exec(['ip', 'address', 'add', '192.168.1.33/24', 'dev', 'eth0']);
    await three.exec(['systemctl', 'restart', 'livekit-fleet-sentinel']);
    await until(async () => (await three.exec(['ss', '-Htn', 'state', 'established', 'dport', '=', ':26379'])).out.includes('192.168.1.2'), 20_000);
    const failed = await fleet(2, ['deploy-livekit-only'], { NODES: all });
    expect(failed.err).toContain('no longer reach this one: 192.168.1.3.');
    expect(failed.code).toBe(1);
    expect(await tables(2)).toEqual(['table inet theirs']);
    await three.exec(['nft', 'delete', 'table', 'ip', 'nat']);
    await three.exec(['ip', 'address', 'del', '192.168.1.33/24', 'dev', 'eth0']);
    await three.exec(['systemctl', 'restart', 'livekit-fleet-sentinel', 'livekit-fleet-agent']);
  });

  it('takes rules back that nobody confirms, since the deploy was killed', async () => {
    const two = lab.machine(2);
    const all = '192.168.1.2,192.168.1.3,192.168.1.4';
    const env = `HEALTH_TIMEOUT=4 NODES=${all} exec /opt/livekit-fleet/部署.sh deploy-livekit-only --env /etc/fleet.env`;
    // The deploy ends as soon as the rules are loaded.
    await two.exec([
      'bash',
      '-c',
      `(${env}) >/dev/null 2>&1 & for i in $(seq 2000); do grep -q trial /var/lib/livekit-fleet/run/firewall.state 2>/dev/null && break; sleep 0.02; done; kill -9 $!`,
    ]);
    expect(await tables(2)).toContain('table inet livekit_fleet');
    await until(async () => (await stateOf(2)).startsWith('taken back'), 60_000);
    expect(await tables(2)).toEqual(['table inet theirs']);
    expect((await fleet(2, ['status'])).code).toBe(1);
    const done = await fleet(2, ['deploy-livekit-only'], { NODES: all });
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
    await until(async () => (await stateOf(2)) === 'in force', 5_000);
    expect(await seen(outsider, '192.168.1.2')).toEqual(silent);
  });

  it('shows its rules, or goes without a trace', async () => {
    const printed = await fleet(3, ['deploy-livekit-only'], { FIREWALL: 'print' });
    expect(printed.out).toContain('table inet livekit_fleet');
    expect(printed.out).toContain('7881/tcp, 3478/udp, 50000-60000/udp');
    expect(await tables(3)).toEqual([]);
    expect((await lab.machine(3).exec(['bash', '-c', 'ls /etc/systemd/system/*firewall* /var/lib/livekit-fleet/run/firewall*'])).out).toBe('');
    const off = await fleet(3, ['deploy-livekit-only'], { FIREWALL: 'off' });
    expect(off.out).not.toContain('table inet');
    expect(off.code).toBe(0);
  });
});
