import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';
import { userOf } from './user.ts';
import type { User } from './user.ts';

const ground = 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\n';
const machine1 = 'DOMAIN=livekit.example.com\nWEBHOOK_ENABLED=true\nWEBHOOK_URLS=https://livekit.example.com/api/webhook\nWEBHOOK_API_KEY=your_key\n';
const nodes = '192.168.1.2,192.168.1.3,192.168.1.4';
const media = (redisHost: string): string =>
  `NODES=${nodes}\nREDIS_HOST=${redisHost}\nREDIS_PORT=6379\nLIVEKIT_API_KEY=your_key\nLIVEKIT_API_SECRET=your_secret\n`;

/** Process ids of the machines' LiveKits. */
function livekitPids(lab: Lab): Promise<string[]> {
  const show = ['systemctl', 'show', '-P', 'MainPID', 'livekit-fleet-livekit'];
  return Promise.all([2, 3, 4].map(async (number) => (await lab.machine(number).exec(show)).out));
}

/** The guide's four machines from nothing, and what may be wrong with their settings. One story; the order matters. */
describe('four machines', () => {
  let lab: Lab;
  let user: User;
  let secrets = '';
  const fleet = (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);
  const deployed = async (number: number): Promise<string> =>
    (await lab.machine(number).exec(['sh', '-c', 'ls -A /var/lib/livekit-fleet/config 2>/dev/null'])).out;
  const isWell = async (number: number): Promise<boolean> => (await fleet(number, ['status'])).code === 0;

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2, 3, 4], componentStore: inject('componentStore') });
    await lab.machine(1).write('/etc/fleet.env', `${ground}${machine1}`);
    await lab.machine(2).write('/etc/fleet.env', `${ground}${media('localhost')}`);
    for (const number of [3, 4]) await lab.machine(number).write('/etc/fleet.env', `${ground}${media('192.168.1.2')}`);
    user = await userOf(lab);
  });

  afterAll(async () => {
    await user.remove();
    await lab.remove();
  });

  it.each([
    [
      'own address not in NODES',
      { NODES: '192.168.1.8,192.168.1.9' },
      2,
      /NODES=192\.168\.1\.8,192\.168\.1\.9 has none of this machine’s addresses \(192\.168\.1\.3\)/,
    ],
    ['an address twice', { NODES: '192.168.1.3,192.168.1.3' }, 2, /NODES \(192\.168\.1\.3,192\.168\.1\.3\) – an address stands twice/],
    ['a malformed address', { NODES: '192.168.1.3,192.168.1.300' }, 2, /NODES .* – use localhost or IPv4 addresses/],
    ['no secrets of the fleet', {}, 2, /joins the fleet of 192\.168\.1\.2: they must be the same/],
  ])('refuses %s and changes nothing', async (_what, env, code, words) => {
    const refused = await fleet(3, ['deploy-livekit-only'], env);
    expect(refused.err).toMatch(words);
    expect(refused.code).toBe(code);
    expect(await deployed(3)).toBe('');
  });

  it('refuses another operating system and changes nothing', async () => {
    await lab.machine(3).exec(['sh', '-c', 'rm /etc/os-release; echo ID=alpine >/etc/os-release; echo PRETTY_NAME=\'"Alpine Linux v3.22"\' >>/etc/os-release']);
    const refused = await fleet(3, ['deploy-livekit-only']);
    expect(refused.err).toContain('This system is Alpine Linux v3.22');
    expect(refused.code).toBe(2);
    expect(await deployed(3)).toBe('');
    await lab.machine(3).exec(['ln', '-sf', '../usr/lib/os-release', '/etc/os-release']);
  });

  it('deploys the first media machine, and its values go to the others', async () => {
    const done = await fleet(2, ['deploy-livekit-only']);
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
    secrets = (await lab.machine(2).exec(['grep', '-E', '^LIVEKIT_API_(KEY|SECRET)=', '/etc/fleet.env'])).out;
    for (const number of [3, 4]) {
      await lab.machine(number).write('/etc/fleet.env', `${ground}${media('192.168.1.2').replace(/LIVEKIT_API[\s\S]*/, '')}${secrets}\n`);
    }
    const word = /部署\.sh join (\S+)/.exec(done.out)?.[1] ?? '';
    const joined = await fleet(1, ['join', word]);
    expect(joined.err).toBe('');
    expect(joined.out).toContain('Next          ./部署.sh deploy-caddy-service-only');
    const gateway = await fleet(1, ['deploy-caddy-service-only']);
    expect(gateway.err).toBe('');
    expect(gateway.code).toBe(0);
  });

  it.each([
    ['another secret', { LIVEKIT_API_SECRET: 'x'.repeat(40) }, /192\.168\.1\.2 refuses this machine’s password/],
    [
      'the same password, but another secret',
      { LIVEKIT_API_SECRET: 'x'.repeat(40), REDIS_PASSWORD: 'of machine 2' },
      /Machine m192-168-1-2 of the fleet has another/,
    ],
    [
      'a Redis that is not of the fleet',
      { NODES: 'localhost', REDIS_HOST: '192.168.1.4', SENTINEL_PORT: '6399' },
      /192\.168\.1\.4:6399 is no Sentinel of livekit-fleet/,
    ],
  ])('refuses %s and changes nothing', async (_what, env: Readonly<Record<string, string>>, words) => {
    const password = (await lab.machine(2).exec(['sed', '-n', 's/^REDIS_PASSWORD=//p', '/etc/fleet.env'])).out;
    await lab.machine(4).exec(['systemd-run', '-q', '--unit=foreign', 'redis-server', '--port', '6399', '--bind', '192.168.1.4', '--protected-mode', 'no']);
    const given = env['REDIS_PASSWORD'] === undefined ? env : { ...env, REDIS_PASSWORD: password };
    const refused = await fleet(3, ['deploy-livekit-only'], given);
    expect(refused.err).toMatch(words);
    expect(refused.code).toBe(1);
    expect(await deployed(3)).toBe('');
    await lab.machine(4).exec(['systemctl', 'stop', 'foreign']);
  });

  it('names the program that holds a port', async () => {
    await lab.machine(3).exec(['systemd-run', '-q', '--unit=holder', 'redis-server', '--port', '7880']);
    const refused = await fleet(3, ['deploy-livekit-only']);
    expect(refused.err).toMatch(/Port 7880\/tcp \(livekit\) is used by redis-server \(pid \d+\)/);
    await lab.machine(3).exec(['systemctl', 'stop', 'holder']);
  });

  it('deploys the other two at once', async () => {
    const done = await Promise.all([3, 4].map((number) => fleet(number, ['deploy-livekit-only'])));
    for (const one of done) {
      expect(one.err).toBe('');
      expect(one.code).toBe(0);
    }
    // Sentinels learn of each other and of replicas from the primary, which they ask every ten seconds.
    await until(async () => {
      const { fleet: seen } = JSON.parse((await fleet(1, ['status', '--json'])).out) as { fleet: { replicas: number; sentinels: number } };
      return seen.replicas === 2 && seen.sentinels === 3;
    }, 90_000);
    const again = await Promise.all([2, 3, 4].map((number) => fleet(number, ['deploy-livekit-only', '--json'])));
    for (const one of again) expect(JSON.parse(one.out)).toMatchObject({ changes: [] });
    const used = new Set<string>();
    await until(async () => {
      const node = await user.nodeOfNewRoom();
      return node !== '' && used.add(node).size === 3;
    }, 20_000);
  });

  it('tells what a LiveKit that was killed could not tell any more, and nothing twice', async () => {
    /** Whom the room's events of this kind are about, as the business service has them. */
    const heard = async (room: string, event: string): Promise<Array<string | null>> => {
      const { text } = await user.ask(`/v1/rooms/${room}/events`);
      const { events } = JSON.parse(text) as { events: Array<{ event: string; identity: string | null }> };
      return events.flatMap((one) => (one.event === event ? [one.identity] : [])).toSorted();
    };
    const soon = { timeout: 20_000, interval: 1_000 };
    const late = { ...soon, timeout: 60_000 };
    const [once, twice] = [
      ['alice', 'bob'],
      ['alice', 'alice', 'bob', 'bob'],
    ];
    const [goesOn, ends] = [await user.startMeeting(), await user.startMeeting()];
    const paths = new Set(await Promise.all([goesOn, ends].map(({ room }) => user.roomNode(room))));
    ends.kill();
    for (const path of paths) {
      const kill = ['systemctl', 'kill', '--kill-whom=main', '--signal=KILL', 'livekit-fleet-livekit.service'];
      expect((await lab.machine(Number(path.slice(-1))).exec(kill)).code).toBe(0);
    }
    // Both came back, so four sessions began; two of them ended with the node.
    await expect.poll(() => heard(goesOn.room, 'participant_joined'), soon).toEqual(twice);
    await expect.poll(() => heard(goesOn.room, 'participant_left'), soon).toEqual(once);
    await expect.poll(() => heard(ends.room, 'room_finished'), late).toEqual([null]);
    expect(await heard(ends.room, 'participant_left')).toEqual(once);
    expect(await heard(goesOn.room, 'room_finished')).toEqual([]);
    await goesOn.end();
    // A client that ends before it has said good-bye is missed by LiveKit after half a minute.
    await expect.poll(() => heard(goesOn.room, 'participant_left'), late).toEqual(twice);
    const password = (await lab.machine(2).exec(['sed', '-n', 's/^REDIS_PASSWORD=//p', '/etc/fleet.env'])).out;
    const kept = await lab.machine(2).exec(['redis-cli', '--no-auth-warning', '-a', password, 'hexists', 'rooms', ends.room]);
    expect(kept.out).toBe('0');
  });

  it('restarts LiveKit on all machines from any of them, one after the other, and a meeting goes on', async () => {
    const states: string[] = [];
    const meeting = await user.startMeeting();
    const before = await livekitPids(lab);
    const isOver = new AbortController();
    const restarting = fleet(1, ['restart', '--fleet'], { DRAIN_TIMEOUT: '3' }).finally(() => isOver.abort());
    while (!isOver.signal.aborted) {
      const { fleet: seen } = JSON.parse((await fleet(2, ['status', '--json'])).out) as { fleet: { registry: { records: Array<{ state: string }> } } };
      states.push(seen.registry.records.map((one) => (one.state === 'serving' ? '+' : '-')).join(''));
    }
    const { err, out } = await restarting;
    expect(err).toBe('');
    expect(out).toContain('LiveKit was restarted on 3 machines');
    const after = await livekitPids(lab);
    expect(after.filter((pid) => pid !== '0' && !before.includes(pid)).length).toBe(3);
    // Never two at a time.
    expect(states.filter((one) => one.split('-').length > 2)).toEqual([]);
    expect(states).toContain('-++');
    const counts = await meeting.end();
    expect(counts.received).toBeGreaterThan(0);
    expect(counts.last, counts.timeline.join('\n')).toBe(counts.sent);
  });

  it('stops where a LiveKit does not come back, and begins nothing where a machine does not serve', async () => {
    const file = '/var/lib/livekit-fleet/config/livekit.yaml';
    await lab.machine(3).exec(['sh', '-c', `cp -p ${file} /root/kept && echo 'port: none' >${file}`]);
    const stopped = await fleet(4, ['restart', '--fleet', '--now']);
    expect(stopped.err).toContain('LiveKit on m192-168-1-3 did not come back');
    expect(stopped.code).toBe(1);
    const refused = await fleet(1, ['restart', '--fleet']);
    expect(refused.err).toMatch(/do not serve: m192-168-1-3/);
    await lab.machine(3).exec(['sh', '-c', `cp -p /root/kept ${file}`]);
    await until(async () => (await fleet(3, ['status'])).code === 0, 30_000);
  });

  it('says where a meeting can be tried', async () => {
    const elsewhere = await fleet(3, ['verify']);
    expect(elsewhere.err).toContain('run ./部署.sh verify on machine 1');
    expect(elsewhere.code).toBe(2);
  });

  it('refuses a changed secret of one machine later, too', async () => {
    const refused = await fleet(4, ['deploy-livekit-only'], { LIVEKIT_API_SECRET: 'x'.repeat(40) });
    expect(refused.err).toContain('of the fleet has another LIVEKIT_API_KEY or LIVEKIT_API_SECRET');
    expect(await isWell(4)).toBe(true);
  });

  it('comes back by itself after a power cut, in any order, machine 1 also alone', async () => {
    await Promise.all([1, 2, 3, 4].map((number) => lab.machine(number).kill()));
    await lab.machine(1).boot();
    await until(() => isWell(1), 30_000);
    for (const number of [4, 2, 3]) await lab.machine(number).boot();
    for (const number of [1, 2, 3, 4]) await until(() => isWell(number), 40_000);
    await until(async () => (await user.ask('/readyz')).ok, 40_000);
    const meeting = await user.startMeeting();
    expect(await meeting.end()).toMatchObject({ reconnections: 0 });
  });
});
