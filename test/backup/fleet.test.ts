import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import type { Ran } from '../e2e/installation.ts';
import { deployFleetOfThree, mediaMachines, nameOf } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';

const everything = [1, ...mediaMachines] as const;

/** The guide's machines, backed up, and restored while they live and after they were lost. One story; the order matters. */
describe('a fleet', () => {
  let fleet: FleetOfThree;
  const archives = new Map<number, string>();
  const run = (number: number, words: readonly string[]): Promise<Ran> =>
    fleet.lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env']);
  const sh = async (number: number, script: string): Promise<string> => (await fleet.lab.machine(number).exec(['sh', '-c', script])).out.trim();
  const done = async (number: number, words: readonly string[]): Promise<Record<string, unknown>> => {
    const ran = await run(number, [...words, '--json']);
    expect(ran.code, `${words.join(' ')} on ${number}: ${ran.out} ${ran.err}`).toBe(0);
    return JSON.parse(ran.out.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
  };
  const trunk = (number: number): Promise<string> => fleet.redis(number, ['HGET', 'sip_trunk', 'ST_1']);
  const livekit = (number: number): Promise<string> => sh(number, 'systemctl show -p MainPID --value livekit-fleet-livekit');
  /** The room API, on machine 1. */
  const api = (method: string, path: string, body = ''): Promise<string> =>
    sh(
      1,
      `curl -s -X ${method} -H "Authorization: Bearer $(sed -n s/^SERVICE_API_TOKEN=//p /etc/fleet.env)" -H 'content-type: application/json' ${body === '' ? '' : `-d '${body}'`} http://127.0.0.1:8080${path}`,
    );
  const authority = (): Promise<string> => sh(1, 'sha256sum </var/lib/livekit-fleet/state/caddy/pki/authorities/local/root.crt');

  /** A machine that is new but for its address: only the archive is carried over. */
  async function lose(number: number): Promise<void> {
    await sh(
      number,
      `systemctl stop 'livekit-fleet-*'; mkdir -p /root/kept; mv /var/lib/livekit-fleet/backups/* /root/kept/; rm -rf /var/lib/livekit-fleet /etc/fleet.env /etc/systemd/system/livekit-fleet-* /etc/systemd/system/*/livekit-fleet-*; systemctl daemon-reload; userdel livekit-fleet; nft flush ruleset`,
    );
    expect(await sh(number, "ls /var/lib/livekit-fleet /etc/fleet.env 2>/dev/null; systemctl list-units 'livekit-fleet-*' -q --state=active")).toBe('');
  }
  const kept = (number: number): string => `/root/kept/${archives.get(number)?.split('/').at(-1) ?? ''}`;

  beforeAll(async () => {
    fleet = await deployFleetOfThree(inject('componentStore'));
    await fleet.settle();
    await fleet.redis(await fleet.primary(), ['HSET', 'sip_trunk', 'ST_1', 'of then']);
    await fleet.redis(await fleet.primary(), ['HSET', 'rooms', 'ghost', 'x']);
    expect(await api('POST', '/api/v1/rooms', '{"id":"of-then","name":"of then"}')).toContain('of-then');
  });

  afterAll(async () => {
    await fleet.remove();
  });

  it('is backed up machine by machine, each archive proved', async () => {
    for (const number of everything) {
      const made = await done(number, ['backup', '--verify']);
      expect(made).toMatchObject({ isProved: true });
      archives.set(number, String(made['path']));
    }
    expect(await sh(1, 'stat -c %a /var/lib/livekit-fleet/backups /var/lib/livekit-fleet/backups/*')).toBe('700\n600');
  });

  it('gets Redis back into its primary from any media machine, its replicas follow, and no LiveKit ends', async () => {
    const primary = await fleet.primary();
    const other = mediaMachines.find((number) => number !== primary) ?? 0;
    await fleet.redis(primary, ['HSET', 'sip_trunk', 'ST_1', 'of today']);
    await fleet.redis(primary, ['SET', 'of-today', '1']);
    await fleet.redis(primary, ['HDEL', 'rooms', 'ghost']);
    const before = await Promise.all(mediaMachines.map(livekit));
    await done(other, ['restore', archives.get(other) ?? '', '--yes']);
    expect(await fleet.primary()).toBe(primary);
    await until(async () => (await Promise.all(mediaMachines.map(trunk))).every((value) => value === 'of then'), 10_000);
    expect(await Promise.all(mediaMachines.map((number) => fleet.redis(number, ['EXISTS', 'of-today'])))).toEqual(['0', '0', '0']);
    expect(await fleet.redis(primary, ['HEXISTS', 'rooms', 'ghost'])).toBe('0');
    expect(await fleet.redis(primary, ['INFO', 'keyspace'])).not.toContain('db1');
    expect(await Promise.all(mediaMachines.map(livekit))).toEqual(before);
    await fleet.settle();
    for (const number of everything) expect((await run(number, ['status'])).code, String(number)).toBe(0);
  });

  it('refuses a gateway’s archive on a media machine, and one that is cut off, with nothing changed', async () => {
    await sh(2, 'head -c 2000 /var/lib/livekit-fleet/backups/*.zst >/root/cut.tar.zst');
    expect((await run(2, ['restore', '/root/cut.tar.zst', '--yes'])).err).toContain('is damaged');
    const gateway = await sh(1, `base64 -w0 ${archives.get(1)}`);
    await fleet.lab.machine(2).write('/root/gateway.b64', gateway);
    await sh(2, 'base64 -d /root/gateway.b64 >/root/gateway.tar.zst');
    expect((await run(2, ['restore', '/root/gateway.tar.zst', '--yes'])).err).toContain('deploy-caddy-service-only');
    expect((await run(2, ['status'])).code).toBe(0);
  });

  it('gets machine 1 back on a machine that has nothing', async () => {
    const [ca, room] = [await authority(), await api('GET', '/api/v1/rooms/of-then')];
    await lose(1);
    await done(1, ['restore', kept(1), '--yes']);
    expect(await authority()).toBe(ca);
    expect(await api('GET', '/api/v1/rooms/of-then')).toBe(room);
    expect(await sh(1, 'stat -c %a /etc/fleet.env')).toBe('600');
    await fleet.settle();
    expect((await run(1, ['status'])).code).toBe(0);
  });

  it('gets a media machine back, which follows the data that the fleet has now', async () => {
    const primary = await fleet.primary();
    const lost = mediaMachines.find((number) => number !== primary) ?? 0;
    await fleet.redis(primary, ['HSET', 'sip_trunk', 'ST_1', 'of now']);
    await lose(lost);
    const restored = await done(lost, ['restore', kept(lost), '--yes']);
    expect(restored).toMatchObject({ machine: nameOf(lost), role: 'media' });
    await fleet.settle();
    expect(await trunk(lost)).toBe('of now');
    expect((await run(lost, ['status'])).code).toBe(0);
  });

  it('comes back as a whole when all of it was lost', async () => {
    const [ca, room] = [await authority(), await api('GET', '/api/v1/rooms/of-then')];
    for (const number of everything) await lose(number);
    for (const number of [2, 3, 4, 1]) await done(number, ['restore', kept(number), '--yes']);
    await fleet.settle();
    expect(await Promise.all(mediaMachines.map(trunk))).toEqual(['of then', 'of then', 'of then']);
    expect(await authority()).toBe(ca);
    expect(await api('GET', '/api/v1/rooms/of-then')).toBe(room);
    for (const number of everything) expect((await run(number, ['status'])).code, String(number)).toBe(0);
  });
});
