import { execa } from 'execa';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { hostname } from 'node:os';
import { resolve } from 'node:path';
import { parseEnv } from 'node:util';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createInstallation, until } from './installation.ts';
import type { Installation, Ran } from './installation.ts';

interface Verdict {
  readonly ok: boolean;
  readonly step?: string;
  readonly cause?: string;
  readonly steps: ReadonlyArray<{ step: string; ok: boolean; ms: number }>;
}

/** `verify` on a real installation of which one thing at a time is broken. */
describe('verify', () => {
  let place: Installation;
  let secrets: string[];
  let token: string;

  /** The verdict of `verify --json`; a step has 4 s, which is ten times what it needs. */
  async function verify(env: Record<string, string> = {}): Promise<Verdict & { err: string }> {
    const { out, err } = await place.run(['verify', '--json', '--timeout', '4'], env);
    for (const secret of [...secrets, 'eyJ']) expect(out + err).not.toContain(secret);
    return { ...(JSON.parse(out.split('\n')[0] ?? '') as Verdict), err };
  }

  const config = (name: string): string => `${place.folder}/data/config/${name}`;

  /** Changes a file that a part reads for the time of `work`; the part has restarted with it. */
  async function withChanged(part: 'livekit' | 'service' | 'agent', change: (text: string) => string, work: () => Promise<void>): Promise<void> {
    const file = config(part === 'livekit' ? 'livekit.yaml' : `${part}.json`);
    const former = await readFile(file, 'utf8');
    const changed = change(former);
    expect(changed).not.toBe(former);
    await writeFile(file, changed);
    try {
      await restart(part);
      await work();
    } finally {
      await writeFile(file, former);
      await restart(part);
    }
  }

  async function restart(part: string): Promise<void> {
    expect((await place.run(['restart', part])).code).toBe(0);
    await untilReady();
  }

  /** Until the service reaches LiveKit through Caddy, which knows of a restarted LiveKit a moment later. */
  async function untilReady(): Promise<void> {
    await until(async () => (await fetch(`http://127.0.0.1:${place.ports['SERVICE_PORT']}/readyz`)).ok, 10_000);
  }

  async function mustRun(...words: string[]): Promise<Ran> {
    const ran = await place.run(words);
    expect([words, ran.code, ran.err]).toEqual([words, 0, '']);
    return ran;
  }

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    await mustRun('deploy');
    const env = parseEnv(await readFile(place.envFile, 'utf8'));
    token = env['SERVICE_API_TOKEN'] ?? '';
    secrets = [token, env['LIVEKIT_API_SECRET'] ?? '', env['REDIS_PASSWORD'] ?? ''];
    expect(secrets).not.toContain('');
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it('passes with nothing broken', async () => {
    const { ok, steps } = await verify();
    expect(ok).toBe(true);
    expect(steps.map(({ step }) => step)).toEqual(['create-room', 'join-alice', 'join-bob', 'publish-audio', 'receive-audio', 'data', 'leave', 'webhooks']);
    console.log(steps.map(({ step, ms }) => `${step} ${ms} ms`).join(', '));
  });

  it.each([
    { part: 'caddy', step: 'create-room', cause: 'GATEWAY_UNREACHABLE' },
    { part: 'service', step: 'create-room', cause: 'SERVICE_UNAVAILABLE' },
    { part: 'livekit', step: 'create-room', cause: 'LIVEKIT_UNAVAILABLE' },
    { part: 'agent', step: 'webhooks', cause: 'AGENT_STOPPED' },
  ])('names a stopped $part', async ({ part, step, cause }) => {
    await mustRun('stop', part);
    try {
      expect(await verify()).toMatchObject({ ok: false, step, cause });
    } finally {
      await mustRun('start', part);
      // Caddy leads to a LiveKit that has been started.
      expect((await fetch(`http://127.0.0.1:${place.ports['GATEWAY_INTERNAL_PORT']}/rtc/validate`)).status).toBe(401);
      await untilReady();
    }
  });

  it.each([
    { name: 'a token that is not the service’s', env: { SERVICE_API_TOKEN: 'not-the-token-not-the-token-not-the-token' }, cause: 'API_UNAUTHORIZED' },
    { name: 'a name that does not resolve', env: { DOMAIN: 'no-such-name.invalid' }, cause: 'NAME_UNRESOLVED' },
    { name: 'a name that Caddy has no certificate for', env: { DOMAIN: hostname() }, cause: 'TLS_NO_CERTIFICATE' },
    { name: 'an issuer that is not trusted', env: { TLS_MODE: 'files', TLS_CERT_FILE: '/no/cert', TLS_KEY_FILE: '/no/key' }, cause: 'TLS_UNTRUSTED' },
  ])('names $name', async ({ env, cause }) => {
    expect(await verify(env)).toMatchObject({ ok: false, step: 'create-room', cause });
  });

  it('names keys that only the service has', async () => {
    await withChanged('service', withOtherSecret, async () => {
      expect(await verify()).toMatchObject({ ok: false, step: 'create-room', cause: 'KEYS_DIFFER' });
    });
  });

  it('names webhooks that the service refuses or that go elsewhere', async () => {
    await withChanged('agent', withOtherSecret, async () => {
      expect(await verify()).toMatchObject({ ok: false, step: 'webhooks', cause: 'WEBHOOKS_MISSING' });
    });
    const elsewhere = { WEBHOOK_URLS: 'http://127.0.0.1:9/hook' };
    expect((await place.run(['deploy'], elsewhere)).code).toBe(0);
    expect(await verify(elsewhere)).toMatchObject({ ok: false, step: 'webhooks', cause: 'WEBHOOKS_ELSEWHERE' });
    await mustRun('deploy');
  });

  it('names blocked media where signalling works', async () => {
    await withChanged('livekit', withoutAddresses, async () => {
      expect(await verify()).toMatchObject({ ok: false, step: 'join-alice', cause: 'MEDIA_BLOCKED' });
    });
  });

  it('leaves, deletes the room and ends with 130 at Ctrl-C', async () => {
    const root = resolve(import.meta.dirname, '../..');
    // A group of its own, as a terminal gives it: the signal comes to every process of it.
    const child = execa(`${root}/部署.sh`, ['verify', '--env', place.envFile], { env: { LANG: 'C' }, reject: false, detached: true });
    for await (const line of child) if (line.includes('join-bob')) process.kill(-Number(child.pid), 'SIGINT');
    const done = await child;
    expect([done.exitCode, done.stderr]).toEqual([130, '✗ Interrupted. Run the same command again: it goes on from what stands.']);
    const [, room = ''] = /create-room .* (r-\S+)/.exec(done.stdout) ?? [];
    await until(async () => {
      const answer = await fetch(`http://127.0.0.1:${place.ports['SERVICE_PORT']}/api/v1/rooms/${room}`, { headers: { authorization: `Bearer ${token}` } });
      return ((await answer.json()) as { state: string }).state === 'finished';
    }, 5000);
    expect(() => process.kill(-Number(child.pid), 0)).toThrow('ESRCH');
  });

  it('says what it needs of the operator’s own service', async () => {
    const own = createServer((_request, response) => response.writeHead(404).end('nothing here')).listen(0, '127.0.0.1');
    await once(own, 'listening');
    const env = { BUSINESS_UPSTREAM: `127.0.0.1:${(own.address() as AddressInfo).port}` };
    try {
      expect((await place.run(['deploy'], env)).code).toBe(0);
      const { err, ...verdict } = await verify(env);
      expect(verdict).toMatchObject({ ok: false, step: 'create-room', cause: 'API_FOREIGN' });
      expect(err).toContain(`your own service at ${env.BUSINESS_UPSTREAM}. verify needs this of it: POST /api/v1/rooms`);
    } finally {
      own.close();
    }
  });
});

/** Every secret of `livekitKeys` or `keys` in a JSON configuration is another. */
function withOtherSecret(text: string): string {
  return text.replaceAll(/("(?:livekitKeys|keys)": \{\s*"[^"]+": ")[^"]+/g, '$1another-secret-of-more-than-32-characters');
}

/** LiveKit takes no address of this machine for media: what a firewall around it does. */
function withoutAddresses(text: string): string {
  return text
    .replace(/^ {2}enable_loopback_candidate: true$/m, '  ips: { includes: [203.0.113.0/24] }')
    .replace(/^turn:\n {2}enabled: true$/m, 'turn:\n  enabled: false');
}
