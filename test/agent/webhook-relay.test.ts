import { stat } from 'node:fs/promises';
import { join } from 'node:path';
import { pino } from 'pino';
import { WebhookReceiver } from 'livekit-server-sdk';
import { expect, onTestFinished, test } from 'vitest';
import { defaultBackoffMs } from '../../src/agent/webhook-relay/dispatcher.ts';
import { startWebhookRelay } from '../../src/agent/webhook-relay/relay.ts';
import type { RelayOptions, WebhookRelay } from '../../src/agent/webhook-relay/relay.ts';
import { openWebhookStore } from '../../src/agent/webhook-relay/store.ts';
import { signWebhook } from '../../src/clients/livekit-token.ts';
import { silentLog, startReceiver, temporaryDirectory, until } from './fixtures.ts';

const KEY = { apiKey: 'APIkey', secret: 'a-secret-of-at-least-thirty-two-characters' };

interface Setup {
  readonly urls: string[];
  readonly path?: string;
  readonly change?: Partial<Pick<RelayOptions, 'log' | 'nowMs' | 'backoffMs' | 'attemptTimeoutMs'>>;
}

async function startRelay({ urls, path, change }: Setup): Promise<{ relay: WebhookRelay; stop: () => Promise<void> }> {
  const store = openWebhookStore(path ?? join(await temporaryDirectory(), 'webhooks.db'));
  const config = { enabled: true, urls, keys: { [KEY.apiKey]: KEY.secret }, signingKey: KEY.apiKey };
  const relay = startWebhookRelay({ config, store, log: silentLog, nowMs: () => Date.now(), backoffMs: () => 5, ...change });
  let stopped: Promise<void> | undefined;
  const stop = (): Promise<void> => (stopped ??= relay.stop());
  onTestFinished(stop);
  return { relay, stop };
}

function send(relay: WebhookRelay, id: string, room: string, nowMs = Date.now()): number {
  const body = Buffer.from(JSON.stringify({ event: 'room_started', id, room: { name: room } }));
  return relay.receive(body, signWebhook(body, { ...KEY, nowMs }));
}

const idOf = (request: { body: string }): string => (JSON.parse(request.body) as { id: string }).id;

test('a delivery is the body and the token as LiveKit sent them', async () => {
  const { url, received } = await startReceiver(() => 200);
  const { relay } = await startRelay({ urls: [`${url}/hook`] });
  const body = Buffer.from('{"event":"room_started", "id":"EV_1" ,"room":{"name":"r"}}');
  const token = signWebhook(body, { ...KEY, nowMs: Date.now() });
  expect(relay.receive(body, token)).toBe(200);
  await until(() => expect(received).toHaveLength(1));
  expect(received[0]).toMatchObject({
    url: '/hook',
    method: 'POST',
    body: body.toString(),
    headers: { 'content-type': 'application/webhook+json', authorization: token },
  });
});

test('a wrong signature, a foreign key, another body or an old token is refused', async () => {
  const { url, received } = await startReceiver(() => 200);
  const { relay } = await startRelay({ urls: [url] });
  const body = Buffer.from('{"id":"EV_1"}');
  const nowMs = Date.now();
  const good = signWebhook(body, { ...KEY, nowMs });
  const bad = [
    '',
    'a.b.c',
    `Bearer ${good}`,
    signWebhook(body, { ...KEY, secret: 'wrong', nowMs }),
    signWebhook(body, { ...KEY, apiKey: 'toString', nowMs }),
    signWebhook(Buffer.from('{}'), { ...KEY, nowMs }),
    signWebhook(body, { ...KEY, nowMs: nowMs - 3600_000 }),
    good.replace(/^[^.]+/, Buffer.from('{"alg":"none"}').toString('base64url')),
  ];
  expect(bad.map((token) => relay.receive(body, token))).toEqual(bad.map(() => 401));
  expect(relay.receive(Buffer.from('no json'), signWebhook(Buffer.from('no json'), { ...KEY, nowMs }))).toBe(400);
  expect(relay.receive(body, good)).toBe(200);
  await until(() => expect(received).toHaveLength(1));
});

test('the order within a room holds across failures', async () => {
  let attempts = 0;
  const done: string[] = [];
  const { url } = await startReceiver((request) => {
    attempts += 1;
    if (attempts % 3 !== 0) return attempts % 2 === 0 ? 404 : 503;
    done.push(idOf(request));
    return 204;
  });
  const { relay } = await startRelay({ urls: [url] });
  const ids = Array.from({ length: 10 }, (_, index) => `EV_${index}`);
  for (const id of ids) send(relay, id, 'room');
  await until(() => expect(done).toEqual(ids));
});

test('what was accepted survives a restart, in order', async () => {
  const path = join(await temporaryDirectory(), 'webhooks.db');
  let isUp = false;
  const done: string[] = [];
  const { url, received } = await startReceiver((request) => {
    // The request that a stop cut off may be answered late and come again: at least once, not once.
    if (isUp && done.at(-1) !== idOf(request)) done.push(idOf(request));
    return isUp ? 200 : 500;
  });
  const first = await startRelay({ urls: [url], path });
  for (const id of ['EV_1', 'EV_2', 'EV_3']) send(first.relay, id, 'room');
  await until(() => expect(received.length).toBeGreaterThan(2));
  await first.stop();
  isUp = true;
  const second = await startRelay({ urls: [url], path });
  await until(() => expect(done).toEqual(['EV_1', 'EV_2', 'EV_3']));
  expect(send(second.relay, 'EV_2', 'room')).toBe(200);
  send(second.relay, 'EV_4', 'room');
  await until(() => expect(done).toEqual(['EV_1', 'EV_2', 'EV_3', 'EV_4']));
  await second.stop();
  const store = openWebhookStore(path);
  expect(store.lanes()).toEqual([]);
  store.close();
});

test('a hung room or URL delays no other', async () => {
  const hung = await startReceiver(() => 'hang');
  const { url, received } = await startReceiver((request) => (idOf(request) === 'EV_hang' ? 'hang' : 200));
  const { relay } = await startRelay({ urls: [hung.url, url] });
  send(relay, 'EV_hang', 'stuck');
  for (let index = 0; index < 50; index += 1) send(relay, `EV_${index}`, `room-${index}`);
  await until(() => expect(received).toHaveLength(51));
  expect(hung.received.length).toBeLessThanOrEqual(32);
});

test('an attempt without an answer ends and is made again', async () => {
  let isHung = true;
  const { url, received } = await startReceiver(() => (isHung ? 'hang' : 200));
  const { relay } = await startRelay({ urls: [url], change: { attemptTimeoutMs: 50 } });
  send(relay, 'EV_1', 'room');
  await until(() => expect(received.length).toBeGreaterThan(1));
  isHung = false;
  const before = received.length;
  await until(() => expect(received.length).toBeGreaterThan(before));
});

test('an expired token is replaced by one that the SDK accepts', async () => {
  let nowMs = Date.now() - 600_000;
  let original = '';
  const { url, received } = await startReceiver(({ headers }) => (original === '' || headers.authorization === original ? 503 : 200));
  const { relay } = await startRelay({ urls: [url], change: { nowMs: () => nowMs } });
  send(relay, 'EV_1', 'room', nowMs);
  await until(() => expect(received.length).toBeGreaterThan(0));
  original = received[0]?.headers.authorization ?? '';
  const sdk = new WebhookReceiver(KEY.apiKey, KEY.secret);
  await expect(sdk.receive(received[0]?.body ?? '', original)).rejects.toThrow();
  nowMs = Date.now();
  await until(() => expect(received.at(-1)?.headers.authorization).not.toBe(original));
  const last = received.at(-1);
  expect((await sdk.receive(last?.body ?? '', last?.headers.authorization ?? '')).id).toBe('EV_1');
});

test('after 24 hours a delivery is given up and the next one goes on', async () => {
  let nowMs = Date.now();
  const { url, received } = await startReceiver((request) => (idOf(request) === 'EV_poison' ? 500 : 200));
  const { relay } = await startRelay({ urls: [url], change: { nowMs: () => nowMs } });
  send(relay, 'EV_poison', 'room');
  await until(() => expect(received.length).toBeGreaterThan(0));
  nowMs += 24 * 3600 * 1000;
  send(relay, 'EV_next', 'room', nowMs);
  await until(() => expect(received.map(idOf)).toContain('EV_next'));
});

test.each([400, 413, 422])('what the receiver refuses with %i is dropped with one error, and the next one goes on', async (status) => {
  const lines: string[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => void lines.push(line) });
  const { url, received } = await startReceiver((request) => (idOf(request) === 'EV_poison' ? status : 200));
  const { relay } = await startRelay({ urls: [url], change: { log } });
  send(relay, 'EV_poison', 'room');
  send(relay, 'EV_next', 'room');
  await until(() => expect(received.map(idOf)).toEqual(['EV_poison', 'EV_next']));
  expect(lines.map((line) => JSON.parse(line) as unknown)).toMatchObject([{ eventId: 'EV_poison', problem: `status ${status}` }]);
});

test.each([301, 401, 403, 404, 408, 429, 500, 501, 502, 503, 504])('what the receiver answers with %i is sent again', async (status) => {
  let attempts = 0;
  const { url, received } = await startReceiver(() => (attempts++ < 2 ? status : 200));
  const { relay } = await startRelay({ urls: [url] });
  send(relay, 'EV_1', 'room');
  send(relay, 'EV_2', 'room');
  await until(() => expect(received.map(idOf)).toEqual(['EV_1', 'EV_1', 'EV_1', 'EV_2']));
});

test('the same event twice is one delivery to each URL', async () => {
  const one = await startReceiver(() => 200);
  const two = await startReceiver(() => 200);
  const { relay } = await startRelay({ urls: [one.url, two.url] });
  expect([send(relay, 'EV_1', 'room'), send(relay, 'EV_1', 'room'), send(relay, 'EV_2', 'room')]).toEqual([200, 200, 200]);
  await until(() =>
    expect([one.received.map(idOf), two.received.map(idOf)]).toEqual([
      ['EV_1', 'EV_2'],
      ['EV_1', 'EV_2'],
    ]),
  );
});

test('pauses double from half a second to a minute', () => {
  expect([1, 2, 3, 7, 8, 5_000].map(defaultBackoffMs)).toEqual([500, 1_000, 2_000, 32_000, 60_000, 60_000]);
});

test('events that come before any receiver is known wait on disk, across a restart, and go to all that are named', async () => {
  const path = join(await temporaryDirectory(), 'webhooks.db');
  const one = await startReceiver(() => 200);
  const two = await startReceiver(() => 200);
  const first = await startRelay({ urls: [], path });
  expect([send(first.relay, 'EV_1', 'room'), send(first.relay, 'EV_2', 'room')]).toEqual([200, 200]);
  await first.stop();
  const { relay } = await startRelay({ urls: [], path });
  send(relay, 'EV_3', 'room');
  relay.redirect({ urls: [one.url, two.url], gateway: null });
  send(relay, 'EV_4', 'room');
  const all = ['EV_1', 'EV_2', 'EV_3', 'EV_4'];
  await until(() => expect([one.received.map(idOf), two.received.map(idOf)]).toEqual([all, all]));
});

test('what a receiver has not got goes to the one that takes its place, and others get nothing twice', async () => {
  const path = join(await temporaryDirectory(), 'webhooks.db');
  const [kept, wrong, right] = [await startReceiver(() => 200), await startReceiver(() => 404), await startReceiver(() => 200)];
  const first = await startRelay({ urls: [kept.url, wrong.url], path });
  send(first.relay, 'EV_1', 'room');
  await until(() => expect([kept.received.length, wrong.received.length > 1]).toEqual([1, true]));
  first.relay.redirect({ urls: [kept.url, right.url], gateway: null });
  send(first.relay, 'EV_2', 'room');
  await until(() => expect(right.received.map(idOf)).toEqual(['EV_1', 'EV_2']));
  const attempts = wrong.received.length;
  await first.stop();
  // The same over a restart: back to the wrong one, which waits in vain, and on.
  const second = await startRelay({ urls: [wrong.url], path });
  send(second.relay, 'EV_3', 'room');
  await until(() => expect(wrong.received.length).toBeGreaterThan(attempts + 1));
  await second.stop();
  await startRelay({ urls: [right.url], path });
  await until(() => expect(right.received.map(idOf)).toEqual(['EV_1', 'EV_2', 'EV_3']));
  expect(kept.received.map(idOf)).toEqual(['EV_1', 'EV_2']);
});

test('a named receiver is tried at once, however long the pause, and a name that returns is served again', async () => {
  const { url, received } = await startReceiver(() => 200);
  const gone = await startReceiver(() => 503);
  const { relay } = await startRelay({ urls: [gone.url], change: { backoffMs: () => 3_600_000 } });
  send(relay, 'EV_1', 'room');
  await until(() => expect(gone.received).toHaveLength(1));
  relay.redirect({ urls: [gone.url], gateway: null });
  await until(() => expect(gone.received).toHaveLength(2));
  relay.redirect({ urls: [url], gateway: null });
  relay.redirect({ urls: [gone.url], gateway: null });
  relay.redirect({ urls: [url], gateway: null });
  send(relay, 'EV_2', 'room');
  // What was under way when its name went comes once more.
  await until(() => expect([...new Set(received.map(idOf))]).toEqual(['EV_1', 'EV_2']));
});

test('with no receivers wanted nothing is kept; with none ever named events are given up after 24 hours', async () => {
  const path = join(await temporaryDirectory(), 'webhooks.db');
  const { url, received } = await startReceiver(() => 200);
  const first = await startRelay({ urls: [], path });
  send(first.relay, 'EV_old', 'room');
  await first.stop();
  const second = await startRelay({ urls: [], path, change: { nowMs: () => Date.now() + 24 * 3600 * 1000 + 1 } });
  second.relay.redirect({ urls: [], gateway: null });
  send(second.relay, 'EV_unwanted', 'room', Date.now() + 24 * 3600 * 1000 + 1);
  second.relay.redirect({ urls: [url], gateway: null });
  send(second.relay, 'EV_wanted', 'room', Date.now() + 24 * 3600 * 1000 + 1);
  await until(() => expect(received.map(idOf)).toEqual(['EV_wanted']));
});

test('what waits does not fill the disk: the oldest make room, and the newest are kept', async () => {
  const maxBytes = 2 * 1024 * 1024;
  const path = join(await temporaryDirectory(), 'webhooks.db');
  const store = openWebhookStore(path, { maxBytes });
  onTestFinished(() => store.close());
  const body = Buffer.alloc(1_000, 'x');
  const count = 6_000;
  for (let index = 0; index < count; index++)
    expect(store.accept({ eventId: `EV_${index}`, room: String(index), body, authorization: 'token', receivedAtMs: index }, ['http://away'])).toBe(true);
  const rooms = store.lanes().map((lane) => Number(lane.room));
  const dropped = store.takeCrowdedOut();
  expect(dropped).toBeGreaterThan(0);
  expect(rooms.toSorted((a, b) => a - b)).toEqual(Array.from({ length: count - dropped }, (_, index) => dropped + index));
  expect(store.takeCrowdedOut()).toBe(0);
  expect((await stat(path)).size).toBeLessThan(1.1 * maxBytes);
});
