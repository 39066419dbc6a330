import { once } from 'node:events';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, onTestFinished, test } from 'vitest';
import { createHttpApi } from '../../src/agent/http-api.ts';
import { startWebhookRelay } from '../../src/agent/webhook-relay/relay.ts';
import { openWebhookStore } from '../../src/agent/webhook-relay/store.ts';
import { awaitDelivery } from '../../src/apply/last-webhooks.ts';
import { signWebhook } from '../../src/clients/livekit-token.ts';
import { freePorts } from '../e2e/installation.ts';
import { sendUnfinished } from '../unfinished-request.ts';
import { silentLog, startReceiver, temporaryDirectory, until } from './fixtures.ts';

const KEY = { apiKey: 'APIkey', secret: 'a-secret-of-at-least-thirty-two-characters' };

async function startApi(urls: string[]): Promise<string> {
  const store = openWebhookStore(join(await temporaryDirectory(), 'webhooks.db'));
  const config = { enabled: true, urls, keys: { [KEY.apiKey]: KEY.secret }, signingKey: KEY.apiKey };
  const relay = startWebhookRelay({ config, store, log: silentLog, nowMs: () => Date.now() });
  const redis = new Redis({ lazyConnect: true });
  const server = createHttpApi({ machine: 'm1', redis, log: silentLog, isLivekitServing: null, isInStep: () => true, wayTo: null, relay });
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(async () => {
    server.close();
    server.closeAllConnections();
    await relay.stop();
  });
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

test('a webhook is answered once it is stored, and refused with a wrong signature', async () => {
  const { url, received } = await startReceiver(() => 200);
  const api = await startApi([url]);
  const body = JSON.stringify({ id: 'EV_1', event: 'room_started', room: { name: 'r' } });
  const post = (authorization: string) => fetch(`${api}/webhook`, { method: 'POST', body, headers: { authorization } });
  expect((await post('wrong')).status).toBe(401);
  expect((await post(signWebhook(Buffer.from(body), { ...KEY, nowMs: Date.now() }))).status).toBe(200);
  await until(() => expect(received.map((one) => one.body)).toEqual([body]));
});

test('who ends an agent can wait until it has delivered what it took', async () => {
  const answers = [500, 200, 500, 500, 500, 500, 500];
  const { url, received } = await startReceiver(() => answers.shift() ?? 500);
  const port = Number(new URL(await startApi([url])).port);
  const take = async (id: string): Promise<void> => {
    const body = JSON.stringify({ id, event: 'room_started', room: { name: 'r' } });
    const headers = { authorization: signWebhook(Buffer.from(body), { ...KEY, nowMs: Date.now() }) };
    await fetch(`http://127.0.0.1:${port}/webhook`, { method: 'POST', body, headers });
  };
  const options = { port, now: () => performance.now(), signal: new AbortController().signal };
  expect(await awaitDelivery({ ...options, patienceMs: 30_000 })).toBe(0);
  await take('EV_1');
  expect(await awaitDelivery({ ...options, patienceMs: 30_000 })).toBe(0);
  expect(received).toHaveLength(2);
  await take('EV_2');
  expect(await awaitDelivery({ ...options, patienceMs: 600 })).toBe(1);
  const [nobody = 0] = await freePorts(1);
  expect(await awaitDelivery({ ...options, port: nobody, patienceMs: 30_000 })).toBe(0);
});

test('a body that is too large is refused', async () => {
  const api = await startApi([]);
  const authorization = signWebhook(Buffer.from(''), { ...KEY, nowMs: Date.now() });
  expect((await fetch(`${api}/webhook`, { method: 'POST', body: 'x'.repeat(1024 * 1024 + 1), headers: { authorization } })).status).toBe(413);
});

const head = (authorization: string): string => `POST /webhook HTTP/1.1\r\nhost: agent\r\nauthorization: ${authorization}\r\ncontent-length: 1000000\r\n\r\n{`;

test('who cannot sign is refused before the body comes, and the connection is closed', async () => {
  const api = await startApi([]);
  const { text, ms } = await sendUnfinished(Number(new URL(api).port), head('a.b.c'));
  expect(text).toMatch(/^HTTP\/1.1 401 /);
  expect(ms).toBeLessThan(2_000);
});

test.each([
  ['body', () => head(signWebhook(Buffer.from('{}'), { ...KEY, nowMs: Date.now() }))],
  ['header', () => 'POST /webhook HTTP/1.1\r\nhost: agent\r\n'],
])('a %s that does not come is waited for 10 s at most', async (_name, start) => {
  const api = await startApi([]);
  const { text, ms } = await sendUnfinished(Number(new URL(api).port), start());
  expect(text).toMatch(/^HTTP\/1.1 408 /);
  expect(ms).toBeLessThan(13_000);
});

test('without Redis the agent says so and stays up', async () => {
  const api = await startApi([]);
  const health = await fetch(`${api}/healthz`);
  expect([health.status, await health.json()]).toEqual([200, { machine: 'm1', redis: false, livekit: null, upstreams: true, webhooksWaiting: 0, nodes: [] }]);
  expect((await fetch(`${api}/v1/rooms/r/node`)).status).toBe(503);
  expect((await fetch(`${api}/v1/rooms/%/node`)).status).toBe(404);
  expect((await fetch(`${api}/nothing`)).status).toBe(404);
});
