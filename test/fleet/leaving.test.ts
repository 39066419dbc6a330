import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import type { JournalEntry } from '../../src/contract/journal.ts';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';

const command = 'deploy-livekit-only';
const everywhere = 'COMPONENT_DIR=/opt/components\nNODES=192.168.1.2,192.168.1.3,192.168.1.4\nREDIS_HOST=localhost\n';

interface Status {
  readonly parts: ReadonlyArray<{ part: string; pid: number | null }>;
  readonly fleet: {
    primary: { host: string };
    healthyReplicas: number;
    quorum: number;
    sentinels: number;
    registry: { records: Array<{ machine: string }> } | null;
  } | null;
}

function livekitPid({ parts }: Status): number | null | undefined {
  return parts.find(({ part }) => part === 'livekit')?.pid;
}

/** One story; the order matters. */
describe('machines come and go', () => {
  let lab: Lab;
  let secrets = '';
  const run = (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);
  const done = async (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<string> => {
    const ran = await run(number, words, env);
    expect(ran.err).toBe('');
    expect(ran.code).toBe(0);
    return ran.out;
  };
  const refused = async (number: number, words: readonly string[], why: RegExp, env: Readonly<Record<string, string>> = {}): Promise<void> => {
    const before = await lab.machine(number).exec(['sh', '-c', 'cat /var/lib/livekit-fleet/run/applied.json; systemctl is-active "livekit-fleet-*"']);
    const ran = await run(number, words, env);
    expect(ran.err).toMatch(why);
    expect(ran.code).not.toBe(0);
    expect(await lab.machine(number).exec(['sh', '-c', 'cat /var/lib/livekit-fleet/run/applied.json; systemctl is-active "livekit-fleet-*"'])).toEqual(before);
  };
  const status = async (number: number): Promise<Status> => JSON.parse((await run(number, ['status', '--json'])).out) as Status;
  const machines = async (number: number): Promise<string[]> => (await status(number)).fleet?.registry?.records.map((one) => one.machine.slice(-1)) ?? [];
  /** Until the machine at `number` sees the primary, and whom it should see. */
  const settled = async (number: number, primary: number, members: readonly string[]): Promise<void> => {
    let seen: Status['fleet'] = null;
    const isSettled = async (): Promise<boolean> => {
      const { fleet } = await status(number);
      seen = fleet;
      return (
        fleet?.primary.host === `192.168.1.${primary}` &&
        fleet.healthyReplicas === members.length - 1 &&
        fleet.sentinels === members.length &&
        fleet.quorum === Math.floor(members.length / 2) + 1 &&
        fleet.registry?.records.map((one) => one.machine.slice(-1)).join('') === members.join('')
      );
    };
    await until(isSettled, 90_000).catch((error: unknown) => {
      throw new Error(`machine ${number} does not see ${members.join(', ')} with primary ${primary}: ${JSON.stringify(seen)}`, { cause: error });
    });
  };

  beforeAll(async () => {
    lab = await createLab({ machines: [2, 3, 4], componentStore: inject('componentStore') });
    await lab.machine(2).write('/etc/fleet.env', everywhere);
  });

  afterAll(async () => {
    await lab.remove();
  });

  it('the same settings on all machines make one fleet, with the first node as its primary', async () => {
    await done(2, [command]);
    secrets = (await lab.machine(2).exec(['grep', '-E', '^(LIVEKIT_API_KEY|LIVEKIT_API_SECRET|REDIS_PASSWORD)=', '/etc/fleet.env'])).out;
    for (const number of [3, 4]) await lab.machine(number).write('/etc/fleet.env', `${everywhere}${secrets}\n`);
    await Promise.all([3, 4].map((number) => done(number, [command])));
    await Promise.all([2, 3, 4].map((number) => settled(number, 2, ['2', '3', '4'])));
  });

  it('a machine in its role is not turned into something else', async () => {
    await refused(4, ['deploy-caddy-service-only'], /was deployed with deploy-livekit-only.*first run \.\/部署\.sh leave/);
    await refused(4, ['deploy', '--dry-run'], /was deployed with deploy-livekit-only/);
    await refused(2, [command], /deployed with DATA_DIR=\/var\/lib\/livekit-fleet; with \/srv\/other it would begin without its data/, {
      DATA_DIR: '/srv/other',
    });
    await refused(2, [command], /REDIS_PORT is 6379 on the fleet’s machines \(.*192\.168\.1\.3.*\); with 6380 this one would be cut off/, {
      REDIS_PORT: '6380',
    });
    await refused(3, [command], /AGENT_PORT is 7980 on the fleet’s machines/, { AGENT_PORT: '7981' });
  });

  it('a stopped machine can leave, and comes back though its settings name nobody', async () => {
    await done(4, ['stop']);
    await done(4, ['leave']);
    expect(await machines(2)).toEqual(['2', '3']);
    expect((await run(4, ['leave'])).err).toContain('Nothing is deployed');
    await lab.machine(4).write('/etc/fleet.env', `COMPONENT_DIR=/opt/components\nNODES=localhost\n${secrets}\n`);
    await done(4, [command]);
    await settled(2, 2, ['2', '3', '4']);
    await settled(4, 2, ['2', '3', '4']);
  });

  it('two may leave at once, also the one with the primary', async () => {
    await Promise.all([2, 4].map((number) => done(number, ['leave'])));
    await settled(3, 3, ['3']);
    await done(4, ['uninstall', '--yes']);
    expect((await lab.machine(4).exec(['ls', '/var/lib/livekit-fleet'])).out).not.toMatch(/config|run/);
    await Promise.all([2, 4].map((number) => done(number, [command], { NODES: '192.168.1.2,192.168.1.3,192.168.1.4' })));
    await settled(3, 3, ['2', '3', '4']);
  });

  it('a machine that is lost for good is forgotten, and one that lives is not', async () => {
    await refused(2, ['forget', '192.168.1.4', '--yes'], /answers at 192\.168\.1\.4\. Run \.\/部署\.sh leave there/);
    await refused(2, ['forget', '192.168.1.9', '--yes'], /no media machine 192\.168\.1\.9\. It has: m192-168-1-2/);
    await lab.machine(4).kill();
    await until(async () => (await run(2, ['forget', '192.168.1.4', '--yes'])).code === 0, 30_000);
    await settled(2, 3, ['2', '3']);
    await settled(3, 3, ['2', '3']);
  });

  it('every machine can tell what was done on all of them, and by whom', async () => {
    const expected = [
      '2 root deploy-livekit-only ok',
      '4 root stop ok',
      '4 root leave ok',
      '4 root uninstall ok',
      '2 root forget MACHINE_LIVES',
      '2 root forget ok',
    ];
    for (const number of [2, 3]) {
      await until(async () => {
        const { entries } = JSON.parse(await done(number, ['journal', '-n', '500', '--json'])) as { entries: JournalEntry[] };
        const found = new Set(entries.map(({ machine, by, words, ended }) => `${machine.slice(-1)} ${by} ${words[0]} ${ended?.code ?? 'ok'}`));
        return expected.every((one) => found.has(one));
      }, 20_000);
    }
    const { out } = await lab.machine(3).exec(['cat', '/var/lib/livekit-fleet/logs/journal.jsonl']);
    expect(out).not.toContain(/^LIVEKIT_API_SECRET=(.+)$/m.exec(secrets)?.[1]);
    expect((await lab.machine(3).exec(['stat', '-c', '%U %a', '/var/lib/livekit-fleet/logs/journal.jsonl'])).out).toBe('root 640');
  });

  it('the primary stays while no other can take its place, and loses nobody for having asked', async () => {
    await done(2, ['stop', 'redis']);
    await until(async () => (await status(3)).fleet?.healthyReplicas === 0, 30_000);
    const before = livekitPid(await status(3));
    await refused(3, ['leave'], /No other Redis could take over from 192\.168\.1\.3/);
    expect(livekitPid(await status(3))).toBe(before);
    await done(2, ['start']);
    await settled(3, 3, ['2', '3']);
    await done(3, ['leave']);
    await settled(2, 2, ['2']);
  });

  it('the data move as the refusal says', async () => {
    const [from, to] = ['/var/lib/livekit-fleet', '/srv/other'];
    await done(2, ['stop']);
    await lab.machine(2).exec(['sh', '-c', `mv ${from} ${to} && rm /etc/systemd/system/livekit-fleet-*.service`]);
    const moved = { DATA_DIR: to, NODES: '192.168.1.2' };
    await done(2, [command], moved);
    const { code, out } = await run(2, ['status'], moved);
    expect(out).toContain('m192-168-1-2');
    expect(code).toBe(0);
    // Alone it may also change its ports.
    const others = { ...moved, REDIS_PORT: '6380', SENTINEL_PORT: '26380', AGENT_PORT: '7981' };
    await done(2, [command], others);
    const after = await run(2, ['status'], others);
    expect(after.out).toContain('m192-168-1-2');
    expect(after.code).toBe(0);
  });
});
