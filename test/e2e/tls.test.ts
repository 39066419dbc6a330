import { execa } from 'execa';
import { X509Certificate } from 'node:crypto';
import { chmod, copyFile, mkdir, readFile, stat, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createOfflineAuthority, startAcmeAuthority } from './authority.ts';
import type { AcmeAuthority, OfflineAuthority } from './authority.ts';
import { createInstallation, untilWell } from './installation.ts';
import type { Installation } from './installation.ts';

const DOMAIN = 'meet.example.com';

/** The three ways to a certificate with the real Caddy, one after the other on one installation. */
describe('TLS', () => {
  let place: Installation;
  let offline: OfflineAuthority;
  /** Only root may enter it, as with certbot's. */
  let live: string;
  const files = (): Record<string, string> => ({ DOMAIN, TLS_MODE: 'files', TLS_CERT_FILE: `${live}/fullchain.pem`, TLS_KEY_FILE: `${live}/privkey.pem` });

  /** What a client that trusts `root` alone gets at the domain; rejects where it would not go on. */
  const visit = async (domain: string, root: string): Promise<{ body: string; serial: string }> => {
    const port = place.ports['HTTPS_PORT'];
    const words = [
      '-sS',
      '--retry',
      '3',
      '--retry-all-errors',
      '--retry-delay',
      '1',
      '--cacert',
      root,
      '--resolve',
      `${domain}:${port}:127.0.0.1`,
      '-w',
      '%{certs}',
      `https://${domain}:${port}/`,
    ];
    const { stdout } = await execa('curl', words);
    return { body: stdout, serial: new X509Certificate(stdout.slice(stdout.indexOf('-----BEGIN'))).serialNumber };
  };
  const put = async (name: string, options: { subjects: string; days: number }): Promise<void> => {
    const { certificate, key } = await offline.issue(name, options);
    await copyFile(certificate, `${live}/fullchain.pem`);
    await copyFile(key, `${live}/privkey.pem`);
    await chmod(`${live}/privkey.pem`, 0o600);
  };
  const pids = async (env: Record<string, string>): Promise<Map<string, number>> => {
    const { parts } = JSON.parse((await place.run(['status', '--json'], env)).out) as { parts: Array<{ part: string; pid: number }> };
    return new Map(parts.map(({ part, pid }) => [part, pid]));
  };

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    live = `${place.folder}/live`;
    await mkdir(live, { mode: 0o700 });
    offline = await createOfflineAuthority(live);
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  describe('with the operator’s files', () => {
    it('refuses a pair that no browser could use, says why, and changes nothing', async () => {
      const refused = async (code: string, env: Record<string, string> = {}): Promise<string> => {
        const done = await place.run(['deploy', '--json'], { ...files(), ...env });
        expect([done.code, done.out], done.err).toEqual([2, expect.stringContaining(`"error":"${code}"`)]);
        expect(done.err).not.toContain('PRIVATE KEY-----\n');
        return done.err;
      };
      expect(await refused('TLS_FILE_UNREADABLE')).toContain(`TLS_CERT_FILE=${live}/fullchain.pem cannot be read (ENOENT)`);
      await put('stranger', { subjects: 'DNS:other.example.com,DNS:*.example.org', days: 30 });
      expect(await refused('TLS_OTHER_NAME')).toContain(`is for DNS:other.example.com, DNS:*.example.org, not for DOMAIN=${DOMAIN}`);
      expect(await refused('TLS_FILE_UNREADABLE', { TLS_KEY_FILE: live })).toContain(`TLS_KEY_FILE=${live} cannot be read (EISDIR)`);
      await refused('TLS_OTHER_NAME', { DOMAIN: '127.0.0.1' });
      await put('late', { subjects: `DNS:${DOMAIN}`, days: -1 });
      expect(await refused('TLS_OUT_OF_DATE')).toContain(new Date(Date.now() - 24 * 3600 * 1000).toISOString().slice(0, 10));
      await put('good', { subjects: `DNS:${DOMAIN}`, days: 30 });
      await refused('TLS_OTHER_KEY', { TLS_KEY_FILE: `${live}/stranger.key` });
      await refused('TLS_NOT_A_KEY', { TLS_KEY_FILE: `${live}/good.pem` });
      await refused('TLS_NOT_A_CERTIFICATE', { TLS_CERT_FILE: `${live}/good.key` });
      await execa('openssl', ['pkey', '-in', `${live}/good.key`, '-aes256', '-passout', 'pass:word', '-out', `${live}/locked.key`]);
      await refused('TLS_NOT_A_KEY', { TLS_KEY_FILE: `${live}/locked.key` });
      await expect(stat(`${place.folder}/data/config`)).rejects.toThrow('ENOENT');
    });

    it('serves a pair that only root may read', async () => {
      const done = await place.run(['deploy'], files());
      expect(done.code, done.err).toBe(0);
      expect(done.out).not.toContain('ends on ');
      const { body, serial } = await visit(DOMAIN, offline.root);
      expect(body).toContain('livekit-fleet');
      expect(serial).toBe(new X509Certificate(await readFile(`${live}/good.pem`)).serialNumber);
      const copy = await stat(`${place.folder}/data/config/tls-key.pem`);
      expect([copy.mode & 0o777, copy.uid]).toEqual([0o640, 0]);
      expect(copy.gid).not.toBe(0);
      expect((await place.run(['plan', '--json'], files())).out).toBe('{"changes":[]}');
    });

    it('takes a renewed pair at the next deploy, restarts Caddy alone, and shows the key nowhere', async () => {
      const before = await pids(files());
      await put('renewed', { subjects: `DNS:*.example.com`, days: 5 });
      const plan = await place.run(['plan'], files());
      expect(plan.out).toMatch(/fullchain\.pem ends on \d{4}-\d\d-\d\d, in [45] day\(s\)/);
      expect(plan.out.match(/^ {2}[~↻+▶■].+$/gm)).toEqual([
        `  ~ ${place.folder}/data/config/tls-certificate.pem`,
        `  ~ ${place.folder}/data/config/tls-key.pem`,
        '  ↻ caddy',
      ]);
      const done = await place.run(['deploy'], files());
      expect(done.code, done.err).toBe(0);
      const key = (await readFile(`${live}/renewed.key`, 'utf8')).split('\n')[1] ?? '';
      expect(key.length).toBeGreaterThan(40);
      expect(plan.out + plan.err + done.out + done.err).not.toContain(key);
      const after = await pids(files());
      expect([...after].filter(([part, pid]) => before.get(part) !== pid).map(([part]) => part)).toEqual(['caddy']);
      expect((await visit(DOMAIN, offline.root)).serial).toBe(new X509Certificate(await readFile(`${live}/renewed.pem`)).serialNumber);
    });

    it('takes the key away when it is no longer asked for', async () => {
      expect((await place.run(['deploy'], { DOMAIN: 'meet.lan' })).code).toBe(0);
      await expect(stat(`${place.folder}/data/config/tls-key.pem`)).rejects.toThrow('ENOENT');
    });
  });

  describe('with the internal authority', () => {
    it.each(['meet.lan', '127.0.0.1'])('%s is trusted by a client that has the root which deploy names', async (domain) => {
      const done = await place.run(['deploy'], { DOMAIN: domain });
      expect(done.code, done.err).toBe(0);
      const root = /Trust the CA\s+(\S+root\.crt)/.exec(done.out)?.[1] ?? '';
      expect((await visit(domain, root)).body).toContain('livekit-fleet');
      await expect(visit(domain, offline.root)).rejects.toThrow('SSL certificate problem');
      expect((await place.run(['status'], { DOMAIN: domain })).out).toContain(`✓ Certificate for ${domain} until `);
    });
  });

  describe('with an ACME authority', () => {
    let acme: AcmeAuthority | undefined;
    const env = (): Record<string, string> => ({ DOMAIN, ACME_CA: acme?.directory ?? '', ACME_ROOT_FILE: offline.root });

    beforeAll(async () => {
      acme = await startAcmeAuthority({ folder: live, httpPort: place.ports['HTTP_PORT'] ?? 0, offline });
    });
    afterAll(() => acme?.stop());

    it('comes up without one that answers, and says why there is no certificate yet', async () => {
      const without = { DOMAIN, ACME_CA: 'https://127.0.0.1:1/dir' };
      const done = await place.run(['deploy'], without);
      expect(done.code, done.err).toBe(0);
      expect(done.out).toContain('livekit-fleet is up');
      for (const said of [done.out, (await place.run(['status'], without)).out]) {
        expect(said).toMatch(new RegExp(`✗ The certificate for ${DOMAIN} is still being fetched.+127\\.0\\.0\\.1:1: connect: connection refused`));
        expect(said).toContain(`leads to HTTP_PORT (${place.ports['HTTP_PORT']})`);
      }
      expect((await place.run(['status', '--json'], without)).code).toBe(1);
    });

    it('gets a certificate through HTTP_PORT before deploy ends', async () => {
      const done = await place.run(['deploy', '--json'], env());
      expect(done.code, done.err).toBe(0);
      expect(JSON.parse(done.out)).toMatchObject({ certificate: { issuer: expect.stringContaining('Pebble'), reason: null } });
      await writeFile(`${live}/pebble-root.pem`, acme?.root ?? '');
      expect((await visit(DOMAIN, `${live}/pebble-root.pem`)).body).toContain('livekit-fleet');
      await untilWell(() => place.run(['status'], env()));
      expect((await place.run(['status'], env())).out).toMatch(/✓ Certificate for meet\.example\.com until .+Pebble/);
    });

    it('keeps it over a restart, and asks for nothing at the next deploy', async () => {
      const { serial } = await visit(DOMAIN, `${live}/pebble-root.pem`);
      expect((await place.run(['restart', 'caddy'], env())).code).toBe(0);
      expect((await visit(DOMAIN, `${live}/pebble-root.pem`)).serial).toBe(serial);
      expect(JSON.parse((await place.run(['deploy', '--json'], env())).out)).toMatchObject({ changes: [] });
    });
  });
});
