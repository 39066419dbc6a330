import { execa } from 'execa';
import { once } from 'node:events';
import { mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { text } from 'node:stream/consumers';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import type { Ran } from '../e2e/installation.ts';
import { createLab } from './machines.ts';
import type { Lab } from './machines.ts';

/** Machines behind 1:1 NAT, whose public address is on no interface, and TURN over TLS. One story; the order matters. */
describe('the ways to a media machine', () => {
  let lab: Lab;
  const fleet = (number: number, words: readonly string[], env: Readonly<Record<string, string>> = {}): Promise<Ran> =>
    lab.machine(number).exec(['/opt/livekit-fleet/部署.sh', ...words, '--env', '/etc/fleet.env'], env);
  const announced = async (): Promise<string> =>
    (await lab.machine(2).exec(['sed', '-n', 's/^ *node_ip: //p', '/var/lib/livekit-fleet/config/livekit.yaml'])).out;

  /** Two browsers of a user meet through TURN over TLS alone. @param folder with the certificate of TURN */
  const meetOverTls = async (folder: string): Promise<unknown> => {
    const ca = await lab.machine(1).exec(['cat', '/var/lib/livekit-fleet/state/caddy/pki/authorities/local/root.crt']);
    await writeFile(`${folder}/root.crt`, ca.out);
    const [, token = ''] = /^SERVICE_API_TOKEN=(.+)$/m.exec((await lab.machine(1).exec(['cat', '/etc/fleet.env'])).out) ?? [];
    const browsers = lab.client([process.execPath, `${import.meta.dirname}/browsers-over-tls.ts`, folder], { API_TOKEN: token });
    const [out, err] = await Promise.all([text(browsers.stdout), text(browsers.stderr)]);
    if (out === '') throw new Error(err);
    return JSON.parse(out);
  };

  beforeAll(async () => {
    lab = await createLab({ machines: [1, 2], componentStore: inject('componentStore') });
    await lab.machine(1).write('/etc/fleet.env', 'COMPONENT_DIR=/opt/components\nTLS_MODE=internal\nDOMAIN=livekit.example.com\n');
    await lab.machine(2).write('/etc/fleet.env', 'COMPONENT_DIR=/opt/components\nNODES=localhost\nREDIS_HOST=localhost\nSTUN_SERVERS=192.168.1.200:3478\n');
    await lab.machine(1).write('/etc/hosts', '127.0.0.1 localhost\n192.168.1.1 livekit.example.com\n');
  });

  afterAll(async () => {
    await lab.remove();
  });

  it('its public address is found, said and announced for media, while the machines go on with their private ones', async () => {
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

  it('its public address is kept while nobody can be asked, and clients of the private network meet all the same', async () => {
    expect(JSON.parse((await fleet(2, ['deploy-livekit-only', '--json'])).out.split('\n').at(-1) ?? '')).toMatchObject({ changes: [] });
    const meeting = await fleet(1, ['verify']);
    expect(meeting.err).toBe('');
    expect(meeting.code).toBe(0);
  });

  it('its public address is not asked for where the settings say none, and LiveKit alone is restarted', async () => {
    const plain = await fleet(2, ['deploy-livekit-only', '--json'], { NODE_PUBLIC_IP: 'none' });
    expect(plain.code).toBe(0);
    const { changes } = JSON.parse(plain.out.split('\n').at(-1) ?? '') as { changes: string[] };
    expect(changes.filter((one) => !one.startsWith('~'))).toEqual(['↻ livekit']);
    expect(await announced()).toBe('192.168.1.2');
  });

  it('serve TURN over TLS where clients are sent to, with the operator’s certificate', async () => {
    const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-`);
    try {
      const subject = ['-subj', '/CN=turn', '-addext', 'subjectAltName=DNS:turn2.example.com', '-days', '30', '-nodes'];
      await execa('openssl', [
        'req',
        '-x509',
        '-newkey',
        'ec',
        '-pkeyopt',
        'ec_paramgen_curve:P-256',
        '-keyout',
        `${folder}/key.pem`,
        '-out',
        `${folder}/cert.pem`,
        ...subject,
      ]);
      for (const name of ['key.pem', 'cert.pem']) await lab.machine(2).write(`/etc/turn-${name}`, await readFile(`${folder}/${name}`, 'utf8'));
      await lab.machine(2).exec(['chmod', '600', '/etc/turn-key.pem']);
      const files = { TURN_CERT_FILE: '/etc/turn-cert.pem', TURN_KEY_FILE: '/etc/turn-key.pem', NODE_PUBLIC_IP: 'none' };
      const other = await fleet(2, ['deploy-livekit-only'], { ...files, TURN_DOMAIN: 'turn3.example.com' });
      expect(other.err).toContain('TURN_CERT_FILE=/etc/turn-cert.pem is for DNS:turn2.example.com, not for TURN_DOMAIN=turn3.example.com');
      const done = await fleet(2, ['deploy-livekit-only'], { ...files, TURN_DOMAIN: 'turn2.example.com' });
      expect(done.err).toBe('');
      // A binding request (RFC 8489) over TLS; the answer begins with its success and repeats the transaction.
      const program = `
        const request = Buffer.from('000100002112a4420102030405060708090a0b0c', 'hex');
        const options = { host: '192.168.1.2', port: 443, servername: 'turn2.example.com', ca: require('node:fs').readFileSync('${folder}/cert.pem') };
        const socket = require('node:tls').connect(options, () => socket.write(request));
        socket.once('data', (answer) => { console.log(answer.subarray(0, 2).toString('hex'), answer.subarray(8, 20).equals(request.subarray(8))); process.exit(); });`;
      expect((await text(lab.client([process.execPath, '-e', program]).stdout)).trim()).toBe('0101 true');
      expect(await meetOverTls(folder)).toEqual({ relayProtocols: ['tls'], hasSound: true, hasPictures: true });
      const user = await lab.machine(2).exec(['sh', '-c', 'ps -o user= -p $(pgrep livekit-server)']);
      expect(user.out.trim()).not.toBe('root');
    } finally {
      await rm(folder, { recursive: true });
    }
  });
});
