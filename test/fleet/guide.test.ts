import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';

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
  const fleet = (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2, 3, 4], componentStore: inject('componentStore') });
    await lab.machine(1).write('/etc/fleet.env', `${ground}${machine1}`);
    await lab.machine(2).write('/etc/fleet.env', `${ground}${machine2}`);
    await lab.machine(1).write('/etc/hosts', '127.0.0.1 localhost\n192.168.1.1 livekit.example.com\n');
  });

  afterAll(async () => {
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
    await until(async () => (await fleet(1, ['verify'])).code === 0, 30_000);
  });
});
