import { once } from 'node:events';
import { connect } from 'node:net';
import type { Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import Fastify from 'fastify';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { createRateLimit } from '../../src/service/auth/rate-limit.ts';
import { limitOutsiders, listenOn } from '../../src/service/listen.ts';
import { isBeside, networkOf } from '../../src/service/web.ts';
import { apiToken, startLivekitStandIn, startService } from './fixtures.ts';
import type { TestService } from './fixtures.ts';
import { freePorts } from '../e2e/installation.ts';

const ORIGIN = 'https://app.example.com';

async function startWith(change: Parameters<typeof startService>[1]): Promise<{ service: TestService; url: string }> {
  const service = await startService((await startLivekitStandIn()).url, change);
  return { service, url: `http://127.0.0.1:${await service.listen()}` };
}

const headers = { authorization: `Bearer ${apiToken}` };

describe('browsers', () => {
  it('are told to keep nothing, and to run nothing', async () => {
    const { url } = await startWith({});
    for (const path of ['/api/v1/rooms', '/api/v1/none', '/api/v1/rooms/%', '/healthz', '/none', '/api/docs']) {
      const answer = await fetch(`${url}${path}`, { headers });
      expect([path, answer.headers.get('x-content-type-options'), answer.headers.get('content-security-policy')]).toEqual([
        path,
        'nosniff',
        "default-src 'none'; frame-ancestors 'none'",
      ]);
      expect(answer.headers.get('cache-control')).toBe(path === '/api/docs' ? 'no-cache' : 'no-store');
    }
  });

  it('may ask for pages of the origins that are set, and of no other', async () => {
    const { url } = await startWith({ corsOrigins: [ORIGIN] });
    const preflight = (origin: string): Promise<Response> =>
      fetch(`${url}/api/v1/rooms`, {
        method: 'OPTIONS',
        headers: { origin, 'access-control-request-method': 'POST', 'access-control-request-headers': 'authorization' },
      });
    const answer = await preflight(ORIGIN);
    expect([answer.status, answer.headers.get('access-control-allow-origin')]).toEqual([204, ORIGIN]);
    expect(answer.headers.get('access-control-allow-headers')).toContain('authorization');
    expect((await preflight('https://evil.example.com')).headers.get('access-control-allow-origin')).toBeNull();
    for (const [origin, allowed] of [
      [ORIGIN, ORIGIN],
      ['https://evil.example.com', null],
      [`${ORIGIN}.evil.com`, null],
    ] as const) {
      const asked = await fetch(`${url}/api/v1/rooms`, { headers: { ...headers, origin } });
      expect([asked.status, asked.headers.get('access-control-allow-origin')]).toEqual([200, allowed]);
      expect(asked.headers.get('access-control-allow-credentials')).toBeNull();
    }
    // A page can read why it was refused.
    expect((await fetch(`${url}/api/v1/rooms`, { headers: { origin: ORIGIN } })).headers.get('access-control-allow-origin')).toBe(ORIGIN);
  });

  it('may ask for none where no origin is set, and for all with *', async () => {
    const none = await startWith({});
    expect((await fetch(`${none.url}/api/v1/rooms`, { headers: { ...headers, origin: ORIGIN } })).headers.get('access-control-allow-origin')).toBeNull();
    const all = await startWith({ corsOrigins: ['*'] });
    expect((await fetch(`${all.url}/api/v1/rooms`, { headers: { ...headers, origin: ORIGIN } })).headers.get('access-control-allow-origin')).toBe(ORIGIN);
  });
});

describe('rate limits', () => {
  it('refuse who asks too often, and say when to come again', async () => {
    const { service } = await startWith({ limits: { tokenPerSecond: 1, userPerSecond: 0, addressPerSecond: 0 } });
    const statuses: number[] = [];
    for (let index = 0; index < 8; index++) statuses.push((await service.call('GET', '/api/v1/rooms')).status);
    expect(statuses.slice(0, 5)).toEqual([200, 200, 200, 200, 200]);
    expect(statuses.at(-1)).toBe(429);
    const { url } = await startWith({ limits: { tokenPerSecond: 0.01, userPerSecond: 0, addressPerSecond: 0 } });
    await fetch(`${url}/api/v1/rooms`, { headers });
    const answer = await fetch(`${url}/api/v1/rooms`, { headers });
    expect([answer.status, answer.headers.get('retry-after')]).toEqual([429, '100']);
    expect(await answer.json()).toMatchObject({ code: 'RATE_LIMITED', detail: 'Try again in 100 s' });
  });

  it.each([
    ['192.168.1.9', '192.168.1.9'],
    ['::ffff:10.0.0.1', '10.0.0.1'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2'],
    ['2001:db8::6', '2001:db8:0:0'],
    ['2001:db8:1:2::', '2001:db8:1:2'],
    ['fe80::1%eth0', 'fe80:0:0:0'],
    ['::1', '0:0:0:0'],
  ])('count %s as %s: an IPv6 host may come from each address of its network', (address, network) => expect(networkOf(address)).toBe(network));

  it('refuse an address that was wrong too often, and still take a good token from there', async () => {
    const { service } = await startWith({ limits: { tokenPerSecond: 0, userPerSecond: 0, addressPerSecond: 0.01 } });
    const wrong = (from: string): Promise<{ status: number }> =>
      service.call('GET', '/api/v1/rooms', undefined, { authorization: 'Bearer wrong', 'x-forwarded-for': from });
    expect([(await wrong('192.0.2.1')).status, (await wrong('192.0.2.1')).status]).toEqual([401, 429]);
    expect((await wrong('192.0.2.2')).status).toBe(401);
    expect((await service.call('GET', '/api/v1/rooms', undefined, { 'x-forwarded-for': '192.0.2.1' })).status).toBe(200);
    expect((await service.call('GET', '/api/docs', undefined, { 'x-forwarded-for': '192.0.2.1' })).status).toBe(429);
    expect((await service.call('GET', '/healthz', undefined, { 'x-forwarded-for': '192.0.2.1' })).status).toBe(200);
  });

  it('let so many at once as in five seconds, then as many a second as are set', () => {
    let nowMs = 0;
    const limit = createRateLimit({ perSecond: 2, now: () => nowMs });
    const take = (times: number): number[] => Array.from({ length: times }, () => limit.take('a'));
    expect(take(11)).toEqual([...Array.from({ length: 10 }, () => 0), 1]);
    expect(limit.take('b')).toBe(0);
    nowMs = 500;
    expect(take(2)).toEqual([0, 1]);
    nowMs = 1e9;
    expect(take(11).filter((seconds) => seconds === 0)).toHaveLength(10);
    // A clock that is set back gives nothing and takes nothing.
    nowMs = 0;
    expect(limit.take('a')).toBe(1);
  });

  it('remember so many callers and no more', () => {
    let nowMs = 0;
    const limit = createRateLimit({ perSecond: 1, now: () => nowMs });
    const before = process.memoryUsage().heapUsed;
    for (let index = 0; index < 300_000; index++) {
      nowMs += 0.001;
      limit.take(`caller ${index}`);
    }
    expect(process.memoryUsage().heapUsed - before).toBeLessThan(60e6);
  });
});

describe('the port', () => {
  it.each(['127.0.0.1', '127.0.0.2', '0.0.0.0'])('is open on %s and on loopback', async (bind) => {
    const [port = 0] = await freePorts(1);
    const app = Fastify({ forceCloseConnections: true });
    app.get('/', () => 'here');
    await listenOn(app, { bind, port });
    onTestFinished(async () => void (await app.close()));
    const hosts = bind === '127.0.0.1' ? [bind] : [bind === '0.0.0.0' ? '127.0.0.3' : bind, '127.0.0.1'];
    for (const host of hosts) expect(await (await fetch(`http://${host}:${port}/`)).text()).toBe('here');
    if (bind !== '0.0.0.0') await expect(fetch(`http://127.0.0.9:${port}/`)).rejects.toThrow('fetch failed');
    await app.close();
    for (const host of hosts) await expect(fetch(`http://${host}:${port}/`)).rejects.toThrow('fetch failed');
  });

  it.each(['127.0.0.2', '0.0.0.0'])('%s takes so many connections from elsewhere, and who is on this machine still comes in', async (bind) => {
    const [port = 0] = await freePorts(1);
    const app = Fastify({ forceCloseConnections: true });
    app.get('/', () => 'here');
    limitOutsiders(app.server, 2);
    await listenOn(app, { bind, port });
    onTestFinished(async () => void (await app.close()));
    const open = (): Socket => connect({ port, host: '127.0.0.2', localAddress: '127.0.0.7' });
    const held = [open(), open()];
    onTestFinished(() => held.forEach((socket) => socket.destroy()));
    for (const socket of held) await once(socket, 'connect');
    const refused = open().on('error', () => undefined);
    refused.write('GET / HTTP/1.1\r\nhost: service\r\n\r\n');
    await new Promise((closed) => refused.resume().once('close', closed));
    expect(refused.bytesRead).toBe(0);
    expect(await (await fetch(`http://127.0.0.1:${port}/`)).text()).toBe('here');
    held[0]?.destroy();
    await vi.waitFor(async () => {
      const next = open().on('error', () => undefined);
      next.end('GET / HTTP/1.1\r\nhost: service\r\nconnection: close\r\n\r\n');
      expect(await text(next)).toContain('here');
    });
  });

  it('takes no word of a caller from elsewhere on whom it asks for', async () => {
    expect(['127.0.0.1', '::1', '::ffff:127.0.0.1', '192.168.1.9', '::ffff:10.0.0.1', undefined].map(isBeside)).toEqual([
      true,
      true,
      true,
      false,
      false,
      false,
    ]);
    // Over plain http, as Caddy says, the address without TLS is given where there is one: only Caddy may say so.
    const { service: plain } = await startWith({ plainUrl: 'ws://localhost' });
    await plain.call('POST', '/api/v1/rooms', { id: 'r1' });
    const join = async (more: Record<string, string>): Promise<unknown> =>
      (await plain.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' }, more)).body['url'];
    expect(await join({ 'x-forwarded-proto': 'http' })).toBe('ws://localhost');
    expect(await join({})).toBe('wss://meet.example.com');
  });
});

it('a request that is no HTTP is refused', async () => {
  const { url } = await startWith({});
  const socket = connect(Number(new URL(url).port), '127.0.0.1');
  await once(socket, 'connect');
  socket.end('NONSENSE\r\n\r\n');
  expect(await text(socket)).toMatch(/^HTTP\/1\.1 400 /);
});
