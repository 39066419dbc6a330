import { once } from 'node:events';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';

/** Machines behind 1:1 NAT: their public address is on no interface. One story; the order matters. */
describe('a public address on no interface', () => {
  let lab: Lab;
  const fleet = (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);
  const announced = async (): Promise<string> =>
    (await lab.machine(2).exec(['sed', '-n', 's/^ *node_ip: //p', '/var/lib/livekit-fleet/config/livekit.yaml'])).out;

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2], componentStore: inject('componentStore') });
    await lab.machine(1).write('/etc/fleet.env', 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\nDOMAIN=livekit.example.com\n');
    await lab.machine(2).write('/etc/fleet.env', 'COMPONENT_DIR=/opt/components\nNODES=localhost\nREDIS_HOST=localhost\nSTUN_SERVERS=192.168.1.200:3478\n');
    await lab.machine(1).write('/etc/hosts', '127.0.0.1 localhost\n192.168.1.1 livekit.example.com\n');
  });

  afterAll(async () => {
    await lab.remove();
  });

  it('is found, said and announced for media, while the machines go on with their private ones', async () => {
    const stun = lab.client([process.execPath, `${import.meta.dirname}/stun-responder.ts`, '3478', '203.0.113.9']);
    await once(stun.stdout, 'data');
    const done = await fleet(2, ['deploy-livekit-only']);
    expect(done.err).toBe('');
    expect(done.out).toContain('Media address 203.0.113.9, from STUN 192.168.1.200; between the machines 192.168.1.2');
    expect(await announced()).toBe('203.0.113.9');
    stun.kill();
    await once(stun, 'exit');
    expect((await fleet(1, ['deploy-caddy-service-only'])).code).toBe(0);
    expect((await fleet(1, ['join', /部署\.sh join (\S+)/.exec(done.out)?.[1] ?? ''])).code).toBe(0);
  });

  it('is kept while nobody can be asked, and clients of the private network meet all the same', async () => {
    expect(JSON.parse((await fleet(2, ['deploy-livekit-only', '--json'])).out.split('\n').at(-1) ?? '')).toMatchObject({ changes: [] });
    const meeting = await fleet(1, ['verify']);
    expect(meeting.err).toBe('');
    expect(meeting.code).toBe(0);
  });

  it('is not asked for where the settings say none, and LiveKit alone is restarted', async () => {
    const plain = await fleet(2, ['deploy-livekit-only', '--json'], { NODE_PUBLIC_IP: 'none' });
    expect(plain.code).toBe(0);
    const { changes } = JSON.parse(plain.out.split('\n').at(-1) ?? '') as { changes: string[] };
    expect(changes.filter((one) => !one.startsWith('~'))).toEqual(['↻ livekit']);
    expect(await announced()).toBe('192.168.1.2');
  });
});
