import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';
import { userOf } from './user.ts';
import type { User } from './user.ts';

const ground = 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\n';
/** What machine 2 gets from machine 1's `.env`. */
const shared = /^(?:LIVEKIT_API_KEY|LIVEKIT_API_SECRET|REDIS_PASSWORD)=.*$/gm;

/** "From one machine to two" of docs/fleet.md. One story; the order matters. */
describe('a single machine that becomes machine 1', () => {
  let lab: Lab;
  let user: User;
  let [room, join] = ['', ''];
  const fleet = (number: number, words: readonly string[]): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env']);
  const contentOf = async (path: string): Promise<string> => (await lab.machine(1).exec(['cat', path])).out;

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2], componentStore: inject('componentStore') });
    await lab.machine(1).write('/etc/fleet.env', `${ground}DOMAIN=livekit.example.com\n`);
    await lab.machine(1).write('/etc/hosts', '127.0.0.1 localhost\n192.168.1.1 livekit.example.com\n');
    user = await userOf(lab);
    const done = await fleet(1, ['deploy']);
    expect(done).toMatchObject({ code: 0, err: '' });
    room = await user.createRoom({ start: false });
  });

  afterAll(async () => {
    await user.remove();
    await lab.remove();
  });

  it('serves on while machine 2 is deployed with its keys', async () => {
    const lines = (await contentOf('/etc/fleet.env')).match(shared) ?? [];
    expect(lines).toHaveLength(3);
    await lab.machine(2).write('/etc/fleet.env', `${ground}NODES=localhost\nREDIS_HOST=localhost\n${lines.join('\n')}\n`);
    const done = await fleet(2, ['deploy-livekit-only']);
    expect(done).toMatchObject({ code: 0, err: '' });
    join = /部署\.sh join (\S+)/.exec(done.out)?.[1] ?? '';
    expect(await user.nodeOfNewRoom()).toBe('m127-0-0-1');
    // Too early: it would end parts that are in use.
    const env = await contentOf('/etc/fleet.env');
    expect(await fleet(1, ['join', join])).toMatchObject({ code: 2, err: expect.stringContaining('first run ./部署.sh leave') });
    expect(await contentOf('/etc/fleet.env')).toBe(env);
  });

  it('leaves, joins, and has its rooms, tokens and certificate still', async () => {
    const certificate = '/var/lib/livekit-fleet/state/caddy/pki/authorities/local/root.crt';
    const [env, root] = [await contentOf('/etc/fleet.env'), await contentOf(certificate)];
    expect(await fleet(1, ['leave'])).toMatchObject({ code: 0, err: '' });
    expect(await fleet(1, ['join', join])).toMatchObject({ code: 0, err: '', out: expect.stringContaining('deploy-caddy-service-only') });
    expect(await fleet(1, ['deploy-caddy-service-only'])).toMatchObject({ code: 0, err: '' });
    expect((await contentOf('/etc/fleet.env')).trimEnd()).toBe(`${env.trimEnd()}\nREDIS_HOST=192.168.1.2`);
    expect(await contentOf(certificate)).toBe(root);
    expect(await fleet(1, ['verify'])).toMatchObject({ code: 0, err: '' });
    expect(await user.roomNode(room)).toBe('m192-168-1-2');
    const meeting = await user.startMeeting();
    expect((await meeting.end()).reconnections).toBe(0);
    expect((await lab.machine(1).exec(['pgrep', '-x', 'livekit-server'])).out).toBe('');
    expect(await fleet(1, ['backup'])).toMatchObject({ code: 0, err: '' });
  });

  it('goes back, and none of its rooms to machine 2', async () => {
    expect(await fleet(1, ['uninstall', '--yes'])).toMatchObject({ code: 0, err: '' });
    expect(await fleet(1, ['deploy'])).toMatchObject({ code: 2, err: expect.stringContaining('REDIS_HOST=192.168.1.2 names another machine') });
    await lab.machine(1).write('/etc/fleet.env', (await contentOf('/etc/fleet.env')).replace('REDIS_HOST=192.168.1.2', 'REDIS_HOST=localhost'));
    expect(await fleet(1, ['deploy'])).toMatchObject({ code: 0, err: '' });
    expect(await fleet(1, ['verify'])).toMatchObject({ code: 0, err: '' });
    const nodes = await Promise.all(Array.from({ length: 6 }, () => user.nodeOfNewRoom()));
    expect(new Set(nodes)).toEqual(new Set(['m127-0-0-1']));
  });
});
