import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until, untilWell } from '../e2e/installation.ts';
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
  const quorum = `REDISCLI_AUTH=$(sed -n s/^REDIS_PASSWORD=//p /etc/fleet.env) redis-cli -p 26379 SENTINEL CKQUORUM livekit`;
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
    for (const number of everything) await untilWell(() => run(number, ['status']));
  });

  it('keeps as many archives as BACKUP_KEEP says, what was there before a restore and what was restored among them', async () => {
    const given = archives.get(2) ?? '';
    const former: string[] = [];
    for (let turn = 0; turn < 2; turn++) {
      const { out } = await fleet.lab
        .machine(2)
        .exec(['/opt/livekit-fleet/部署.sh', 'restore', given, '--yes', '--json', '--env', '/etc/fleet.env'], { BACKUP_KEEP: '1' });
      former.push(String((JSON.parse(out.trim().split('\n').at(-1) ?? '') as { former: string }).former));
    }
    const files = (await sh(2, 'ls /var/lib/livekit-fleet/backups')).split('\n');
    expect(files.toSorted()).toEqual([given, former[1] ?? ''].map((path) => path.split('/').at(-1)).toSorted());
  });

  it('has the data of then on all its machines or those of today, after a kill before any of the acts of its restore', async () => {
    const node = await sh(2, 'ls /opt/components/node/*/bin/node');
    const killAt = (n: number): Promise<Ran> =>
      fleet.lab.machine(2).exec([node, '/opt/livekit-fleet/test/backup/restore-killed-at.ts', '/etc/fleet.env', archives.get(2) ?? '', String(n), 'redis']);
    const acts = (await killAt(0)).err.trim().split('\n');
    const begun = acts.findIndex((name) => name === 'redis eval');
    // Each before something else, and some of the many of a kind.
    const chosen = acts.flatMap((name, index) => (index < begun || (name === acts[index - 1] && name === acts[index + 1]) ? [] : [index + 1]));
    // Once the data of then are in use as well.
    const exchanged = acts.indexOf('redis eval', begun + 1) + 2;
    const whole = chosen.filter((n) => acts[n - 1] === 'redis eval' || n % 4 === 0 || n === exchanged);
    expect(whole.filter((n) => acts[n - 1] === 'redis eval').length).toBeGreaterThan(2);
    const ends = new Set<string>();
    for (const n of whole) {
      const primary = await fleet.primary();
      await fleet.redis(primary, ['HSET', 'sip_trunk', 'ST_1', 'of today']);
      await fleet.redis(primary, ['SET', 'of-today', '1']);
      const killed = await killAt(n);
      expect(killed.code, `act ${n}: ${acts[n - 1]}: ${killed.err}`).not.toBe(0);
      const next = await run(2, [n % 3 === 0 ? 'backup' : 'start']);
      // Where it was half-way, only what puts it back may go on.
      if (n % 3 === 0 && next.code !== 0) expect((await run(2, ['start'])).code).toBe(0);
      await until(async () => new Set(await Promise.all(mediaMachines.map(trunk))).size === 1, 10_000);
      const [day, today] = [await trunk(primary), await fleet.redis(primary, ['EXISTS', 'of-today'])];
      expect([`of then 0`, `of today 1`], `act ${n}: ${acts[n - 1]}`).toContain(`${day} ${today}`);
      ends.add(day);
      for (const number of mediaMachines) expect(await fleet.redis(number, ['INFO', 'keyspace']), `act ${n}`).not.toContain('db1');
      expect(await sh(2, 'ls /var/lib/livekit-fleet/state')).not.toMatch(/^restore$/m);
    }
    expect(ends).toEqual(new Set(['of then', 'of today']));
    // What had been in use until it was undone.
    expect(await sh(2, 'head -qc5 /var/lib/livekit-fleet/state/undone-restore/*/redis.rdb.undone')).toMatch(/^(REDIS)+$/);
    await done(2, ['restore', archives.get(2) ?? '', '--yes']);
    await fleet.settle();
  });

  it('leaves its people to themselves when whoever interrupts a restore does so again while what stood before comes back', async () => {
    const log = '/root/restore.log';
    await sh(2, 'cp /etc/fleet.env /root/former.env; echo LOG_LEVEL=debug >>/etc/fleet.env');
    await done(2, ['deploy-livekit-only']);
    await fleet.settle();
    const meeting = await fleet.user.startMeeting({ on: nameOf(2) });
    const before = await livekit(2);
    const restored = sh(2, `/opt/livekit-fleet/部署.sh restore ${archives.get(2)} --yes --env /etc/fleet.env >${log} 2>&1; echo $?`);
    for (const isWaiting of [/waits for 2 participant/, /before the restore is back[^]*waits for 2 participant/]) {
      await until(async () => isWaiting.test(await sh(2, `cat ${log}`)), 30_000);
      await sh(2, "pkill -INT -f 'dist/cli.cjs restore'");
    }
    expect(await restored, await sh(2, `cat ${log}`)).toBe('130');
    expect(await sh(2, 'grep -c ^LOG_LEVEL=debug /etc/fleet.env')).toBe('1');
    expect([await livekit(2), meeting.lastSoundMs() > Date.now() - 2_000]).toEqual([before, true]);
    // With nobody left it ends, and another one starts, from the files of now.
    await meeting.end();
    await fleet.settle();
    await sh(2, 'mv /root/former.env /etc/fleet.env');
    await done(2, ['deploy-livekit-only']);
    await untilWell(() => run(2, ['status']));
  });

  it('has what a killed restore began on machine 1 undone by join as well', async () => {
    const line = /部署\.sh join (\S+)/.exec((await run(2, ['deploy-livekit-only'])).out)?.[1] ?? '';
    await sh(
      1,
      `mkdir -p /var/lib/livekit-fleet/state/restore/former; cp /etc/fleet.env /var/lib/livekit-fleet/state/restore/former/env; echo DRAIN_TIMEOUT=77 >>/etc/fleet.env
cat >/var/lib/livekit-fleet/state/restore/plan.json <<'EOF'
${JSON.stringify({ phase: 'swapping', parts: [], items: [{ live: '/etc/fleet.env', staged: '/nowhere', former: '/var/lib/livekit-fleet/state/restore/former/env', hadLive: true, isText: true }], exchangeId: null })}
EOF`,
    );
    expect((await run(1, ['join', line])).code).toBe(0);
    expect(await sh(1, 'grep -c DRAIN_TIMEOUT=77 /etc/fleet.env; ls /var/lib/livekit-fleet/state')).toMatch(/^0\n(?![^]*^restore$)/m);
  });

  it('refuses a gateway’s archive on a media machine, and one that is cut off, with nothing changed', async () => {
    await sh(2, `head -c 2000 ${archives.get(2)} >/root/cut.tar.zst`);
    expect((await run(2, ['restore', '/root/cut.tar.zst', '--yes'])).err).toContain('is damaged');
    const gateway = await sh(1, `base64 -w0 ${archives.get(1)}`);
    await fleet.lab.machine(2).write('/root/gateway.b64', gateway);
    await sh(2, 'base64 -d /root/gateway.b64 >/root/gateway.tar.zst');
    expect((await run(2, ['restore', '/root/gateway.tar.zst', '--yes'])).err).toContain('deploy-caddy-service-only');
    await untilWell(() => run(2, ['status']));
  });

  it('gets machine 1 back on a machine that has nothing', async () => {
    const [ca, room] = [await authority(), await api('GET', '/api/v1/rooms/of-then')];
    await lose(1);
    await done(1, ['restore', kept(1), '--yes']);
    expect(await authority()).toBe(ca);
    expect(await api('GET', '/api/v1/rooms/of-then')).toBe(room);
    expect(await sh(1, 'stat -c %a /etc/fleet.env')).toBe('600');
    await fleet.settle();
    await untilWell(() => run(1, ['status']));
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
    await untilWell(() => run(lost, ['status']));
  });

  it('has the one media machine that is left of it go on alone, with --alone, though it was no primary', async () => {
    const primary = await fleet.primary();
    const left = mediaMachines.find((one) => one !== primary) ?? 0;
    const lost = mediaMachines.filter((one) => one !== left);
    const path = await sh(left, `ls ${kept(left)} 2>/dev/null || echo ${archives.get(left)}`);
    await fleet.redis(primary, ['HSET', 'sip_trunk', 'ST_1', 'of now']);
    await until(async () => (await trunk(left)) === 'of now', 10_000);
    for (const one of lost) await fleet.lab.machine(one).kill();
    await until(async () => (await sh(left, quorum)).includes('NOQUORUM'), 30_000);
    const { out } = await run(left, ['restore', path, '--yes', '--json']);
    expect(JSON.parse(out.trim().split('\n').at(-1) ?? '')).toMatchObject({ error: 'RESTORE_CUT_OFF' });
    expect(await trunk(left)).toBe('of now');
    await done(left, ['restore', path, '--alone', '--yes']);
    expect(await trunk(left)).toBe('of then');
    expect(await fleet.redis(left, ['INFO', 'replication'])).toContain('role:master');
    await untilWell(() => run(left, ['status']));
    for (const one of lost) await done(left, ['forget', nameOf(one), '--yes']);
    await until(async () => (await run(1, ['status'])).code === 0, 60_000);
    // LiveKit makes it.
    await until(async () => (await api('POST', '/api/v1/rooms', '{"id":"alone","name":"alone","start":true}')).includes('"id":"alone"'), 30_000);
    expect(await fleet.redis(left, ['HEXISTS', 'rooms', 'alone'])).toBe('1');
    for (const one of lost) await fleet.lab.machine(one).boot();
  });

  it('comes back as a whole when all of it was lost', async () => {
    const [ca, room] = [await authority(), await api('GET', '/api/v1/rooms/of-then')];
    for (const number of everything) await lose(number);
    for (const number of [2, 3, 4, 1]) await done(number, ['restore', kept(number), '--yes']);
    await fleet.settle();
    expect(await Promise.all(mediaMachines.map(trunk))).toEqual(['of then', 'of then', 'of then']);
    expect(await authority()).toBe(ca);
    expect(await api('GET', '/api/v1/rooms/of-then')).toBe(room);
    for (const number of everything) await untilWell(() => run(number, ['status']));
  });
});
