import { isDeepStrictEqual } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';
import { userOf } from './user.ts';
import type { User } from './user.ts';

/** The deployment guide's machines, with its own `.env` files as they stand; what the lab needs on top comes first. */
const ground = 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\n';
const machine1 = `DOMAIN=livekit.example.com
WEBHOOK_ENABLED=true
WEBHOOK_URLS=https://livekit.example.com/api/webhook
WEBHOOK_API_KEY=your_key
`;
const machine2 = `NODES=localhost
REDIS_HOST=localhost
REDIS_PORT=6379
LIVEKIT_API_KEY=your_key
LIVEKIT_API_SECRET=your_secret
`;

/** One story; the order matters. */
describe('the guide', () => {
  let lab: Lab;
  let user: User;
  const fleet = (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2, 3, 4], componentStore: inject('componentStore') });
    await lab.machine(1).write('/etc/fleet.env', `${ground}${machine1}`);
    await lab.machine(2).write('/etc/fleet.env', `${ground}${machine2}`);
    await lab.machine(1).write('/etc/hosts', '127.0.0.1 localhost\n192.168.1.1 livekit.example.com\n');
    user = await userOf(lab);
  });

  afterAll(async () => {
    await user.remove();
    await lab.remove();
  });

  it('deploys machine 1, which waits for media machines', async () => {
    const done = await fleet(1, ['deploy-caddy-service-only']);
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
    expect(done.out).toContain('Waiting for media machines');
    const env = await lab.machine(1).exec(['cat', '/etc/fleet.env']);
    expect(env.out).not.toMatch(/LIVEKIT_API_SECRET=./);
    expect((await fleet(1, ['status'])).code).toBe(0);
  });

  it('deploys machine 2, and its join line connects machine 1', async () => {
    const done = await fleet(2, ['deploy-livekit-only']);
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
    const word = /部署\.sh join (\S+)/.exec(done.out)?.[1] ?? '';
    const damaged = await fleet(1, ['join', word.slice(0, -3)]);
    expect(damaged.code).toBe(2);
    const joined = await fleet(1, ['join', word]);
    expect(joined.err).toBe('');
    expect(joined.code).toBe(0);
    expect((await fleet(1, ['join', word])).out).toContain('Nothing to change');
  });

  it('relays a meeting whose clients have no other way (TURN)', async () => {
    await until(async () => (await user.ask('/readyz')).ok, 20_000);
    const meeting = await user.startMeeting({ isRelayed: true });
    // LiveKit's relays have ports from 30000 to 40000 (its turn.relay_range_start and _end).
    const relays = await lab.machine(2).exec(['ss', '-Hnua', 'sport >= :30000 and sport <= :40000']);
    expect(relays.out.split('\n').length).toBeGreaterThan(1);
    const counts = await meeting.end();
    expect(counts).toMatchObject({ reconnections: 0, last: counts.sent });
  });

  it('grows to four machines while a meeting goes on, and nothing is done on machine 1', async () => {
    const livekit = async (): Promise<string> => (await lab.machine(2).exec(['pgrep', '-x', 'livekit-server'])).out;
    const files = async (): Promise<string> =>
      (await lab.machine(1).exec(['sh', '-c', 'sha256sum /etc/fleet.env; find /etc/systemd /var/lib/livekit-fleet/config -type f -newer /tmp/before'])).out;
    await until(async () => (await user.ask('/readyz')).ok, 20_000);
    const meeting = await user.startMeeting();
    const rooms = await user.createRooms();
    await lab.machine(1).exec(['touch', '/tmp/before']);
    const [pidBefore, filesBefore] = [await livekit(), await files()];

    const env2 = (await lab.machine(2).exec(['cat', '/etc/fleet.env'])).out;
    const nodes = 'NODES=192.168.1.2,192.168.1.3,192.168.1.4';
    await lab.machine(2).write('/etc/fleet.env', env2.replace(/^NODES=.*$/m, nodes));
    for (const number of [3, 4]) {
      await lab.machine(number).write('/etc/fleet.env', env2.replace(/^NODES=.*$/m, nodes).replace(/^REDIS_HOST=.*$/m, 'REDIS_HOST=192.168.1.2'));
    }
    for (const number of [2, 3, 4]) {
      const done = await fleet(number, ['deploy-livekit-only']);
      expect(done.err).toBe('');
      expect(done.code).toBe(0);
    }
    const used = new Set<string>();
    // A node that has only just come may have a room before machine 1 knows its path: any node leads there then.
    for (const deadline = Date.now() + 20_000; used.size < 3 && Date.now() < deadline;) {
      const node = await user.nodeOfNewRoom();
      if (node !== '') used.add(node);
    }
    expect([...used].toSorted()).toEqual(['m192-168-1-2', 'm192-168-1-3', 'm192-168-1-4']);

    rooms.end();
    expect(rooms.attempts.filter((one) => !one.isCreated)).toEqual([]);
    const counts = await meeting.end();
    expect(counts).toMatchObject({ reconnections: 0, received: counts.sent });
    // How much exactly is the benchmark's to say: a busy computer drops audio by itself.
    expect(counts.silent / counts.frames).toBeLessThan(0.1);
    expect(await livekit()).toBe(pidBefore);
    expect(await files()).toBe(filesBefore);
  });

  it('shows the fleet on every machine', async () => {
    for (const number of [1, 2, 4]) {
      // On the way from one to three machine 1 voted for a while; the others forget it one after the other, some ten seconds each.
      await until(async () => {
        const shown = JSON.parse((await fleet(number, ['status', '--json'])).out) as { ok: boolean; fleet: Record<string, unknown> };
        return shown.ok && isDeepStrictEqual([shown.fleet['replicas'], shown.fleet['sentinels']], [2, 3]);
      }, 90_000);
    }
  });

  it('restarts LiveKit only when its participants have left, or at the deadline, when they come back elsewhere', async () => {
    const meeting = await user.startMeeting();
    const number = Number((await user.roomNode(meeting.room)).split('-').at(-1));
    const restarted = await fleet(number, ['restart', 'livekit'], { DRAIN_TIMEOUT: '3' });
    expect(restarted.err).toBe('');
    expect(restarted.out).toContain('LiveKit waits for 2 participant(s) to leave');
    await until(async () => (await user.roomNode(meeting.room)) !== '', 20_000);
    const counts = await meeting.end();
    expect(counts.last, counts.timeline.join('\n')).toBe(counts.sent);
    expect((await fleet(number, ['restart', 'livekit'])).out).not.toContain('waits for');
  });

  it('shrinks: the primary hands over, leaves, and the others go on', async () => {
    const left = await fleet(2, ['leave']);
    expect(left.err).toBe('');
    expect(left.code).toBe(0);
    expect(left.out).toMatch(/Redis primary is now 192\.168\.1\.[34]/);
    expect((await lab.machine(2).exec(['sh', '-c', 'pgrep -u livekit-fleet; systemctl list-unit-files | grep livekit-fleet'])).out).toBe('');
    const shown = JSON.parse((await fleet(3, ['status', '--json'])).out) as { fleet: { registry: { records: Array<{ machine: string }> } } };
    expect(shown.fleet.registry.records.map((one) => one.machine)).toEqual(['m192-168-1-3', 'm192-168-1-4']);
    await until(async () => (await user.ask('/readyz')).ok, 20_000);
    const meeting = await user.startMeeting();
    expect(await meeting.end()).toMatchObject({ reconnections: 0 });
  });

  it('takes the machine back, as a replica', async () => {
    const back = await fleet(2, ['deploy-livekit-only']);
    expect(back.err).toBe('');
    expect(back.code).toBe(0);
    const role = await lab.machine(2).exec(['sh', '-c', 'grep -c ^replicaof /var/lib/livekit-fleet/state/redis/redis.conf']);
    expect(role.out).toBe('1');
  });

  it('is removed without a trace but data and settings, or wholly', async () => {
    expect((await fleet(4, ['uninstall'])).code).toBe(2);
    const kept = await fleet(4, ['uninstall', '--yes']);
    expect(kept.err).toBe('');
    expect(kept.code).toBe(0);
    expect((await lab.machine(4).exec(['ls', '/var/lib/livekit-fleet'])).out.split('\n')).toEqual(['logs', 'state']);
    const purged = await fleet(1, ['uninstall', '--purge', '--yes']);
    expect(purged.err).toBe('');
    const traces = 'ls -d /var/lib/livekit-fleet /etc/systemd/system/livekit-fleet* 2>/dev/null; getent passwd livekit-fleet; pgrep -a caddy';
    expect((await lab.machine(1).exec(['sh', '-c', traces])).out).toBe('');
  });
});
