import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';

const gateway = 1;
const ground = 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\n';
const nodes = (numbers: readonly number[]): string => numbers.map((number) => `192.168.1.${number}`).join(',');

/** One story; the order matters. Machines lose their power in it: no shutdown, no word to anyone. */
describe('the vote follows the fleet', () => {
  let lab: Lab;
  let secrets = '';
  let password = '';

  const fleet = async (number: number, words: readonly string[]): Promise<string> => {
    const done = await lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env']);
    expect(done.err).toBe('');
    expect(done.code).toBe(0);
    return done.out;
  };
  const ask = async (number: number, port: number, words: readonly string[]): Promise<string> => {
    const argv = ['timeout', '2', 'redis-cli', '-p', String(port), '--no-auth-warning', '-a', password, ...words];
    return (await lab.machine(number).exec(argv)).out;
  };
  const join = async (numbers: readonly number[], joining: number): Promise<void> => {
    await lab.machine(joining).write('/etc/fleet.env', `${ground}NODES=${nodes(numbers)}\nREDIS_HOST=192.168.1.2\nREDIS_PORT=6379\n${secrets}`);
    await fleet(joining, ['deploy-livekit-only']);
  };
  /** Quorum, and the machines whose Sentinels this one counts besides itself. */
  const voteAt = async (number: number): Promise<string> => {
    const fields = (await ask(number, 26379, ['SENTINEL', 'MASTER', 'livekit'])).split('\n');
    const others = [...(await ask(number, 26379, ['SENTINEL', 'SENTINELS', 'livekit'])).matchAll(/^ip\n192\.168\.1\.(\d)$/gm)];
    return `${fields[fields.indexOf('quorum') + 1]} with ${others
      .map((one) => one[1])
      .toSorted()
      .join(' ')}`;
  };
  const voteBecomes = async (expected: Readonly<Record<number, string>>, timeoutMs: number): Promise<void> => {
    const votes = async (): Promise<unknown> =>
      Object.fromEntries(await Promise.all(Object.keys(expected).map(async (number) => [number, await voteAt(Number(number))] as const)));
    await expect.poll(votes, { timeout: timeoutMs }).toEqual(expected);
  };
  const isPrimary = async (number: number): Promise<boolean> => (await ask(number, 6379, ['ROLE'])).startsWith('master');
  const isReplicaInSync = async (number: number): Promise<boolean> => (await ask(number, 6379, ['ROLE'])).split('\n')[3] === 'connected';
  /** Seconds until one of these machines has the primary, and takes writes. */
  const failoverTo = async (numbers: readonly number[]): Promise<number> => {
    const began = performance.now();
    await until(async () => (await Promise.all(numbers.map(isPrimary))).includes(true), 30_000);
    return (performance.now() - began) / 1_000;
  };
  const isAgentConnected = async (number: number): Promise<boolean> =>
    (await lab.machine(number).exec(['curl', '-s', 'http://127.0.0.1:7980/healthz'])).out.includes('"redis":true');

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2, 3, 4], componentStore: inject('componentStore') });
    await lab.machine(gateway).write('/etc/fleet.env', `${ground}DOMAIN=livekit.example.com\n`);
    await lab.machine(2).write('/etc/fleet.env', `${ground}NODES=localhost\n`);
  });

  afterAll(async () => {
    await lab.remove();
  });

  it('one machine decides alone', async () => {
    const out = await fleet(2, ['deploy-livekit-only']);
    await fleet(gateway, ['deploy-caddy-service-only']);
    await fleet(gateway, ['join', /部署\.sh join (\S+)/.exec(out)?.[1] ?? '']);
    const env = (await lab.machine(2).exec(['cat', '/etc/fleet.env'])).out;
    secrets = `${env.match(/^(LIVEKIT_API_KEY|LIVEKIT_API_SECRET|REDIS_PASSWORD)=.*$/gm)?.join('\n') ?? ''}\n`;
    password = /^REDIS_PASSWORD=(.*)$/m.exec(env)?.[1] ?? '';
    await voteBecomes({ 2: '1 with ' }, 20_000);
  });

  it('with two, machine 1 votes too, and the one with the primary may lose its power', async () => {
    await join([2, 3], 3);
    await voteBecomes({ 1: '2 with 2 3', 2: '2 with 1 3', 3: '2 with 1 2' }, 40_000);
    await until(() => isReplicaInSync(3), 20_000);
    await lab.machine(2).kill();
    const seconds = await failoverTo([3]);
    console.log(`two machines: primary after ${seconds.toFixed(1)} s`);
    expect(seconds).toBeLessThan(20);
    await until(() => isAgentConnected(gateway), 15_000);
  });

  it('the machine that returns follows the new primary, which keeps its place when the other one goes', async () => {
    await lab.machine(2).boot();
    await until(() => isReplicaInSync(2), 30_000);
    await voteBecomes({ 1: '2 with 2 3', 2: '2 with 1 3', 3: '2 with 1 2' }, 40_000);
    await lab.machine(2).kill();
    await until(async () => (await ask(3, 26379, ['SENTINEL', 'REPLICAS', 'livekit'])).includes('s_down'), 20_000);
    expect(await isPrimary(3)).toBe(true);
    await lab.machine(2).boot();
    await until(() => isReplicaInSync(2), 30_000);
  });

  it('with three, machine 1 votes no more, and two of three decide while it is off', async () => {
    await join([2, 3, 4], 4);
    await voteBecomes({ 2: '2 with 3 4', 3: '2 with 2 4', 4: '2 with 2 3' }, 60_000);
    // A Sentinel that was reset learns of the replicas last, at its next question to the primary (every ten seconds).
    const replicasAt = async (number: number): Promise<boolean> => (await ask(number, 26379, ['SENTINEL', 'MASTER', 'livekit'])).includes('num-slaves\n2\n');
    await until(async () => (await Promise.all([2, 3, 4].map(replicasAt))).every(Boolean), 20_000);
    expect(await ask(gateway, 26379, ['SENTINEL', 'MASTERS'])).toBe('');
    await until(() => isReplicaInSync(4), 20_000);
    await lab.machine(gateway).kill();
    await lab.machine(3).kill();
    const seconds = await failoverTo([2, 4]);
    console.log(`three machines, machine 1 off: primary after ${seconds.toFixed(1)} s`);
    expect(seconds).toBeLessThan(20);
    await Promise.all([lab.machine(gateway).boot(), lab.machine(3).boot()]);
    await until(() => isReplicaInSync(3), 30_000);
    await until(() => isAgentConnected(gateway), 20_000);
  });

  it('machines that left are forgotten: one decides alone again', async () => {
    for (const number of [4, 3]) await fleet(number, ['leave']);
    await voteBecomes({ 2: '1 with ' }, 60_000);
    expect(await isPrimary(2)).toBe(true);
  });
});
