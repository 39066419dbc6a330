import { execa } from 'execa';
import fc from 'fast-check';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, mkdtemp, readFile, rename, rm, symlink, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterEach, beforeAll, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
import { parseSettings } from '../../src/settings/parse.ts';
import { planTopology } from '../../src/topology/topology.ts';
import { keeperScript } from '../../src/render/firewall-keeper.ts';
import { renderRules } from '../../src/render/firewall.ts';
import { needPrograms } from '../debian-packages.ts';
import { until } from '../e2e/installation.ts';

const address = fc.ipV4().filter((text) => !/^(0|127|22[4-9]|2[345]\d)\./.test(text));
const port = fc.integer({ min: 1, max: 40_000 }).map(String);
const portNames = ['REDIS_PORT', 'SENTINEL_PORT', 'LIVEKIT_HTTP_PORT', 'METRICS_PORT', 'AGENT_PORT'] as const;
const role = fc.constantFrom('all' as const, 'gateway' as const, 'media' as const);

function rulesOf(env: string, as: 'all' | 'gateway' | 'media' = 'media', own = '192.168.1.2'): string | null {
  const { settings } = parseSettings(env, {});
  return settings === null ? null : renderRules(settings, planTopology(settings, as, { addresses: [own], hasSystemd: false, hasNft: true }));
}

/** The real program with real nftables, in a network of its own. */
describe('the firewall part', () => {
  let folder: string;
  let keeper: ReturnType<typeof spawn> | null;
  let holder: ReturnType<typeof spawn>;
  const inside = async (...argv: string[]): Promise<{ out: string; err: string }> => {
    const { stdout, stderr } = await execa('nsenter', ['-t', String(holder.pid), '-n', ...argv], { reject: false });
    return { out: stdout, err: stderr };
  };
  const nft = async (...words: string[]): Promise<string> => (await inside('nft', ...words)).out;
  const members = async (): Promise<string[]> => (await nft('list', 'set', 'inet', 'livekit_fleet', 'members')).match(/\d+\.\d+\.\d+\.\d+/g) ?? [];
  const state = async (): Promise<string> => (await readFile(`${folder}/run.state`, 'utf8').catch(() => '')).trim();
  const write = async (name: string, text: string): Promise<void> => {
    await writeFile(`${folder}/${name}.new`, text);
    await rename(`${folder}/${name}.new`, `${folder}/${name}`);
  };
  const start = (trialSeconds = 60): void => {
    const words = ['-t', String(holder.pid), '-n', '/bin/sh', `${folder}/firewall.sh`, `${folder}/rules`, `${folder}/agent/members`, `${folder}/run`];
    keeper = spawn('nsenter', [...words, String(trialSeconds)], { stdio: 'ignore' });
  };
  const stop = async (signal: NodeJS.Signals): Promise<void> => {
    if (keeper === null || keeper.exitCode !== null || keeper.signalCode !== null) return;
    const ended = once(keeper, 'exit');
    keeper.kill(signal);
    await ended;
  };

  beforeAll(() => needPrograms({ nft: 'nftables' }));

  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/livekit-fleet-firewall-`);
    await mkdir(`${folder}/agent`);
    await writeFile(`${folder}/firewall.sh`, keeperScript);
    await writeFile(`${folder}/rules`, rulesOf('NODES=192.168.1.2,192.168.1.3') ?? '');
    keeper = null;
    holder = spawn('unshare', ['-n', 'sh', '-c', 'ip link set lo up; echo ready; exec sleep infinity'], { stdio: ['ignore', 'pipe', 'ignore'] });
    if (holder.stdout !== null) await once(holder.stdout, 'data');
  });

  afterEach(async () => {
    await stop('SIGKILL');
    holder.kill('SIGKILL');
    await rm(folder, { recursive: true, force: true });
  });

  it('has rules that nft takes, whatever the settings (property)', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uniqueArray(address, { minLength: 1, maxLength: 5 }),
        fc.array(port, { minLength: 5, maxLength: 5 }),
        role,
        async (nodes, ports, as) => {
          const env = [`NODES=${nodes.join(',')}`, ...portNames.map((name, index) => `${name}=${ports[index]}`)].join('\n');
          const rules = rulesOf(env, as, nodes[0]);
          fc.pre(rules !== null);
          await writeFile(`${folder}/rules`, rules ?? '');
          expect((await inside('nft', '-c', '-f', `${folder}/rules`)).err).toBe('');
        },
      ),
      { numRuns: 25 },
    );
  });

  it('loads confirmed rules, follows the members, and takes only its own table away', async () => {
    await inside('nft', 'add table inet theirs; add chain inet theirs input { type filter hook input priority 0; policy drop; }');
    const theirs = await nft('list', 'table', 'inet', 'theirs');
    await write('run.confirmed', await readFile(`${folder}/rules`, 'utf8'));
    await write('agent/members', '10.0.0.7\n');
    start();
    await until(async () => (await members()).join() === '10.0.0.7', 5_000);
    expect(await state()).toBe('in force');
    await write('agent/members', '10.0.0.7\n10.0.0.8\n');
    await until(async () => (await members()).length === 2, 5_000);
    await until(async () => (await readFile(`${folder}/run.members`, 'utf8')) === '10.0.0.7\n10.0.0.8\n', 5_000);
    await stop('SIGTERM');
    expect(await nft('list', 'tables')).toBe('table inet theirs');
    expect(await nft('list', 'table', 'inet', 'theirs')).toBe(theirs);
  });

  it('takes nothing but addresses from the agent', async () => {
    await write('run.confirmed', await readFile(`${folder}/rules`, 'utf8'));
    const nonsense = ['10.0.0.0/8', '0.0.0.0', '127.0.0.1', '224.0.0.1', '10.0.0.07', '1.2.3.4 }; flush ruleset; {', '::1', '10.0.0.9', '-', ''];
    await write('agent/members', nonsense.join('\n'));
    start();
    await until(async () => (await members()).join() === '10.0.0.9', 5_000);
    await writeFile(`${folder}/secret`, '10.0.0.66\n');
    await rm(`${folder}/agent/members`);
    await symlink(`${folder}/secret`, `${folder}/agent/members`);
    await until(async () => (await readFile(`${folder}/run.members`, 'utf8')).trim() === '', 15_000);
    expect(await members()).toEqual([]);
    await write('agent/members', Array.from({ length: 1_500 }, (_, index) => `10.1.${index >> 8}.${index & 255}\n`).join(''));
    await until(async () => (await members()).length === 1_000, 15_000);
  });

  it('never waits for a pipe', async () => {
    await write('run.confirmed', await readFile(`${folder}/rules`, 'utf8'));
    await execa('mkfifo', [`${folder}/agent/members`]);
    start();
    await until(async () => (await state()) === 'in force', 5_000);
  });

  it('loads its table again after somebody flushed them all', async () => {
    await write('run.confirmed', await readFile(`${folder}/rules`, 'utf8'));
    start();
    await until(async () => (await state()) === 'in force', 5_000);
    await inside('nft', 'flush', 'ruleset');
    await until(async () => (await nft('list', 'tables')) === 'table inet livekit_fleet', 15_000);
  });

  it('keeps the table while it is killed, and brings the confirmed rules back where a trial is not confirmed', async () => {
    await write('run.confirmed', rulesOf('NODES=192.168.1.2') ?? '');
    await write('run.trial', '');
    start(2);
    await until(async () => (await state()) === 'on trial', 5_000);
    expect(await nft('list', 'set', 'inet', 'livekit_fleet', 'listed')).toContain('192.168.1.3');
    await until(async () => (await state()).startsWith('taken back'), 10_000);
    expect(await nft('list', 'set', 'inet', 'livekit_fleet', 'listed')).not.toContain('192.168.1.3');
    await stop('SIGKILL');
    expect(await nft('list', 'tables')).toBe('table inet livekit_fleet');
    start();
    await until(async () => (await state()).startsWith('not confirmed'), 5_000);
    expect(await nft('list', 'set', 'inet', 'livekit_fleet', 'listed')).not.toContain('192.168.1.3');
  });

  it('removes a first trial that nobody confirms, and keeps one that is', async () => {
    await write('run.trial', '');
    start(2);
    await until(async () => (await state()).startsWith('taken back'), 10_000);
    expect(await nft('list', 'tables')).toBe('');
    await stop('SIGTERM');
    await write('run.trial', '');
    start(3);
    await until(async () => (await state()) === 'on trial', 5_000);
    await write('run.confirmed', await readFile(`${folder}/rules`, 'utf8'));
    await until(async () => (await state()) === 'in force', 5_000);
    expect(await nft('list', 'tables')).toBe('table inet livekit_fleet');
  });

  it('says why where the packet filter may not be changed', async () => {
    await write('run.trial', '');
    const words = ['--bounding-set', '-net_admin', '/bin/sh', `${folder}/firewall.sh`, `${folder}/rules`, `${folder}/agent/members`, `${folder}/run`, '60'];
    const child = spawn('setpriv', words, { stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    await until(async () => /^failed: .*not permitted.*FIREWALL=print/.test(await state()), 5_000);
  });
});
