import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { writeJoin } from '../../src/settings/join-line.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { brokenLivekit, until } from '../e2e/installation.ts';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab, Machine } from './machines.ts';

const parts = ['redis', 'sentinel', 'livekit', 'service', 'agent', 'caddy'];

/** The whole product on a machine whose PID 1 is systemd. One story; the order matters. */
/**
 * Of groups of the first kind (cgroup v1), which a machine in a container may have, systemd is not told that the last process has ended.
 * Where it misses that of a killed part's child, it waits for TimeoutStopSec twice.
 */
const NOTICED_MS = 60_000;

describe('one machine with systemd', () => {
  let lab: Lab;
  let machine: Machine;
  const fleet = (words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    machine.exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);
  const status = async (): Promise<{ ok: boolean; parts: Array<{ part: string; pid: number; exits: number; lastExit: string | null }> }> =>
    JSON.parse((await fleet(['status', '--json'])).out) as Awaited<ReturnType<typeof status>>;

  beforeAll(async () => {
    lab = await createLab({ machines: [1], componentStore: inject('componentStore') });
    machine = lab.machine(1);
    await machine.write('/etc/fleet.env', 'COMPONENT_DIR=/opt/components\n');
  });

  afterAll(async () => {
    await lab.remove();
  });

  it('deploys units that are hardened and run as their own user, and changes nothing the second time', async () => {
    const done = await fleet(['deploy']);
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
    const before = await status();
    expect(before.ok).toBe(true);
    expect(JSON.parse((await fleet(['deploy', '--json'])).out)).toMatchObject({ changes: [] });
    expect((await status()).parts.map((one) => one.pid)).toEqual(before.parts.map((one) => one.pid));
    for (const part of parts) {
      const unit = `livekit-fleet-${part}.service`;
      const { out: shown } = await machine.exec(['systemctl', 'show', '-p', 'User,UnitFileState,NoNewPrivileges,LimitNOFILE', unit]);
      expect(shown.split('\n').toSorted()).toEqual(['LimitNOFILE=65536', 'NoNewPrivileges=yes', 'UnitFileState=enabled', 'User=livekit-fleet']);
      const rating = await machine.exec(['systemd-analyze', 'security', '--no-pager', '--threshold=20', unit]);
      expect(rating.code, rating.out).toBe(0);
    }
  });

  it('holds a real meeting', async () => {
    const meeting = await fleet(['verify']);
    expect(meeting.err).toBe('');
    expect(meeting.code).toBe(0);
  });

  it('starts a killed part again and shows that it ended', async () => {
    for (const { part, pid } of (await status()).parts) {
      await machine.exec(['kill', '-9', String(pid)]);
      await until(async () => {
        const now = (await status()).parts.find((one) => one.part === part);
        return now !== undefined && now.pid !== null && now.pid !== pid && now.exits === 1 && now.lastExit?.includes('killed=9') === true;
      }, NOTICED_MS).catch(async (error: unknown) => {
        throw new Error(`${part}, ${pid} before: ${JSON.stringify((await status()).parts)}`, { cause: error });
      });
    }
    await until(async () => (await status()).ok, 20_000).catch(async (error: unknown) => {
      throw new Error((await fleet(['status'])).out, { cause: error });
    });
  });

  it('goes on as root for a user with sudo, whose values it keeps out of the command line', async () => {
    await machine.exec(['useradd', '-m', 'ops']);
    await machine.write('/etc/sudoers.d/ops', 'ops ALL=(ALL) NOPASSWD: ALL\n');
    await machine.exec(['sh', '-c', 'chmod 440 /etc/sudoers.d/ops; chown ops /etc/fleet.env']);
    const asUser = (words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
      machine.exec(['runuser', '-u', 'ops', '--', '/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);
    expect(await asUser(['status'])).toMatchObject({ code: 0 });
    const planned = await asUser(['plan'], { SERVICE_API_TOKEN: 'token-of-the-command-line' });
    expect(planned.out).toContain('service.json');
    const { settings } = parseSettings(`LIVEKIT_API_KEY=APIother\nLIVEKIT_API_SECRET=${'s'.repeat(32)}\nREDIS_PASSWORD=other\n`, {});
    if (settings === null) throw new Error('bad settings');
    const word = writeJoin(settings, '192.168.1.1');
    const joined = await asUser(['join', word]);
    expect([joined.code, joined.err]).toEqual([2, expect.stringContaining('This machine belongs to another fleet already')]);
    const { out: said } = await machine.exec(['journalctl', '-q', '_COMM=sudo', '--no-pager']);
    expect(said).toContain('部署.sh plan');
    expect(said).not.toContain('token-of-the-command-line');
    expect(said).toContain('部署.sh join - --env');
    expect(said).not.toContain('lkf1');
    await machine.exec(['rm', '/etc/sudoers.d/ops']);
    const refused = await asUser(['status']);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('must run as root');
  });

  it('shows the logs of one part', async () => {
    const log = await fleet(['logs', 'livekit', '-n', '20']);
    expect(log.out.trim().split('\n')).toHaveLength(20);
    expect((await fleet(['logs', 'livekit', '-n', '10000'])).out).toContain('starting LiveKit server');
  });

  it('puts the former files back when a changed part does not become healthy', async () => {
    const before = (await machine.exec(['cat', '/etc/systemd/system/livekit-fleet-livekit.service'])).out;
    await machine.write('/usr/local/bin/broken', brokenLivekit);
    await machine.exec(['chmod', '755', '/usr/local/bin/broken']);
    const starts = async (): Promise<number> =>
      (await machine.exec(['journalctl', '-q', '-u', 'livekit-fleet-livekit', '-o', 'cat'])).out.split('starting LiveKit server').length - 1;
    const formerStarts = await starts();
    const failed = await fleet(['deploy'], { LIVEKIT_PATH: '/usr/local/bin/broken', HEALTH_TIMEOUT: '4' });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('this one is broken');
    expect((await machine.exec(['cat', '/etc/systemd/system/livekit-fleet-livekit.service'])).out).toBe(before);
    await until(async () => (await status()).ok, 20_000);
    // Not one that its supervisor started in the meantime as well: ended in its first moments, it would leave its entry behind.
    expect(await starts()).toBe(formerStarts + 1);
  });

  it('removes a part that is no longer wanted', async () => {
    const without = await fleet(['deploy'], { BUSINESS_UPSTREAM: '127.0.0.1:9000' });
    expect(without.code).toBe(0);
    expect((await machine.exec(['systemctl', 'is-active', 'livekit-fleet-service.service'])).out).toBe('inactive');
    expect((await machine.exec(['test', '-e', '/etc/systemd/system/livekit-fleet-service.service'])).code).toBe(1);
    expect((await fleet(['deploy'])).code).toBe(0);
  });

  it('comes back by itself after a power cut', async () => {
    await machine.kill();
    await machine.boot();
    await until(async () => (await status()).ok, 30_000);
    const meeting = await fleet(['verify']);
    expect(meeting.code, meeting.err).toBe(0);
  });

  it('stops without leaving a process, and starts again', async () => {
    expect(await fleet(['stop'])).toMatchObject({ code: 0, err: '' });
    const left = await machine.exec(['pgrep', '-u', 'livekit-fleet']);
    expect(left.out).toBe('');
    expect((await fleet(['start'])).code).toBe(0);
    expect((await status()).ok).toBe(true);
  });
});
