import { readdir, stat } from 'node:fs/promises';
import { join } from 'node:path';
import { Webhook, WebhookVerificationError } from 'standardwebhooks';
import { describe, expect, it, vi } from 'vitest';
import { livekitStartMs, roomEvent, rowsOf, startLivekitStandIn, startService, storedText } from './fixtures.ts';
import type { TestService } from './fixtures.ts';
import { addEndpoint, startReceiver } from './receiver.ts';
import type { Receiver } from './receiver.ts';

const WAIT = { timeout: 15_000, interval: 20 };

async function start(now?: () => number): Promise<TestService> {
  return startService((await startLivekitStandIn()).url, {}, undefined, now);
}

/** A room with a whole life: created, started, ann in and out, finished. */
async function liveThrough(service: TestService, room: string): Promise<void> {
  await service.call('POST', '/api/v1/rooms', { id: room, name: `Room ${room}` });
  const at = { room, createdAtMs: livekitStartMs + Date.now() };
  for (const [name, participant] of [['room_started'], ['participant_joined', 'ann'], ['participant_left', 'ann'], ['room_finished']] as const)
    await service.webhook(roomEvent(`EV_${room}_${name}`, name, { ...at, ...(participant === undefined ? {} : { participant }) }));
}

const LIFE = ['room.created', 'room.started', 'participant.joined', 'participant.left', 'room.finished'];

async function until(receiver: Receiver, count: number): Promise<void> {
  await vi.waitFor(() => expect(receiver.taken().length).toBeGreaterThanOrEqual(count), WAIT);
}

describe('an endpoint', () => {
  it('hears of a room’s life, in its order, signed as Standard Webhooks has it', async () => {
    const [service, receiver] = [await start(), await startReceiver()];
    const { secret } = await addEndpoint(service, { url: receiver.url });
    await liveThrough(service, 'r1');
    await until(receiver, LIFE.length);
    expect(receiver.received.map(({ type }) => type)).toEqual(LIFE);
    for (const { body, headers } of receiver.received) expect(new Webhook(secret).verify(body, headers)).toEqual(JSON.parse(body));
    expect(JSON.parse(receiver.received[2]?.body ?? '')).toEqual({
      type: 'participant.joined',
      timestamp: expect.stringMatching(/^\d{4}-\d\d-\d\dT.*Z$/),
      data: { room: 'r1', identity: 'ann', sid: 'PA_ann', name: '' },
    });
    expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(LIFE.length);
    const [{ body = '', headers = {} } = {}] = receiver.received;
    expect(() => new Webhook(secret).verify(body.replace('r1', 'r2'), headers)).toThrow(WebhookVerificationError);
  });

  it('hears of what it asked for, and of LiveKit’s own events where it asked for those', async () => {
    const [service, some, raw, whole] = [await start(), await startReceiver(), await startReceiver(), await startReceiver()];
    await addEndpoint(service, { url: some.url, events: ['room.finished', 'participant.*'] });
    await addEndpoint(service, { url: raw.url, events: ['livekit.*'] });
    await addEndpoint(service, { url: whole.url, events: ['*', 'livekit.*'] });
    await liveThrough(service, 'r1');
    await service.webhook({ id: 'EV_egress', event: 'egress_ended', egressInfo: { egressId: 'EG_1', roomName: 'r1' } });
    await until(some, 3);
    await until(raw, 5);
    await until(whole, 10);
    expect(whole.received.map(({ type }) => type).filter((type) => !type.startsWith('livekit.'))).toEqual(LIFE);
    expect(some.received.map(({ type }) => type)).toEqual(['participant.joined', 'participant.left', 'room.finished']);
    expect(raw.received.filter(({ room }) => room === 'r1').map(({ type }) => type)).toEqual([
      'livekit.room_started',
      'livekit.participant_joined',
      'livekit.participant_left',
      'livekit.room_finished',
    ]);
    const egress = raw.received.find(({ type }) => type === 'livekit.egress_ended');
    expect(egress?.data).toMatchObject({ event: { id: 'EV_egress', egressInfo: { egressId: 'EG_1' } } });
    expect(JSON.stringify([some.received, raw.received])).not.toContain('TURN-PASSWORD');
  });

  it('bears both signatures while its secret is replaced', async () => {
    const clock = { ms: Date.now() };
    const [service, receiver] = [await start(() => clock.ms), await startReceiver()];
    const { id, secret: first } = await addEndpoint(service, { url: receiver.url });
    const { body } = await service.call('POST', `/api/v1/webhooks/${id}/rotate`, { overlapHours: 1 });
    const second = String(body['secret']);
    expect(body['formerSecretUntil']).toBe(new Date(clock.ms + 3_600_000).toISOString());
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    await until(receiver, 1);
    for (const secret of [first, second])
      expect(new Webhook(secret).verify(receiver.received[0]?.body ?? '', receiver.received[0]?.headers ?? {})).toBeTruthy();
    clock.ms += 3_600_000;
    await service.call('POST', '/api/v1/rooms', { id: 'r2' });
    await until(receiver, 2);
    expect(receiver.received[1]?.headers['webhook-signature']).toMatch(/^v1,\S+$/);
  });

  it('has its secret shown once, and nowhere else', async () => {
    const [service, receiver] = [await start(), await startReceiver()];
    const { id, secret } = await addEndpoint(service, { url: receiver.url });
    await service.call('POST', `/api/v1/webhooks/${id}/test`);
    const shown = [await service.call('GET', `/api/v1/webhooks/${id}`), await service.call('GET', '/api/v1/webhooks')];
    shown.push(await service.call('PATCH', `/api/v1/webhooks/${id}`, { description: 'mine' }));
    expect(shown.map(({ status }) => status)).toEqual([200, 200, 200]);
    expect(JSON.stringify(shown)).not.toContain(secret);
    expect(service.logs.join('')).not.toContain(secret);
    // Signing needs it: it is in the database, which only the service's user may read.
    expect(await storedText(service)).toContain(secret);
    for (const name of await readdir(service.directory)) expect((await stat(join(service.directory, name))).mode & 0o077, name).toBe(0);
  });

  it('may be tried at once', async () => {
    const [service, receiver] = [await start(), await startReceiver(() => ({ status: 500 }))];
    const { id, secret } = await addEndpoint(service, { url: receiver.url });
    const { body } = await service.call('POST', `/api/v1/webhooks/${id}/test`);
    expect(body).toMatchObject({ ok: false, status: 500, error: 'HTTP 500', message: receiver.received[0]?.id });
    expect(new Webhook(secret).verify(receiver.received[0]?.body ?? '', receiver.received[0]?.headers ?? {})).toMatchObject({ type: 'webhook.test' });
    await service.call('PATCH', `/api/v1/webhooks/${id}`, { url: 'http://127.0.0.1:1/' });
    expect((await service.call('POST', `/api/v1/webhooks/${id}/test`)).body).toMatchObject({ ok: false, status: 0, error: 'ECONNREFUSED' });
  });

  it('is switched off when it answers 410, keeps what waits, and goes on where that is taken back', async () => {
    let isGone = true;
    const [service, receiver] = [await start(), await startReceiver(() => ({ status: isGone ? 410 : 200 }))];
    const { id } = await addEndpoint(service, { url: receiver.url });
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    const view = async (): Promise<unknown> => (await service.call('GET', `/api/v1/webhooks/${id}`)).body;
    await vi.waitFor(async () => expect(await view()).toMatchObject({ enabled: false, disabledReason: 'gone', waiting: 1 }), WAIT);
    // What happens while it is off is not for it.
    await service.call('POST', '/api/v1/rooms', { id: 'r2' });
    isGone = false;
    expect((await service.call('PATCH', `/api/v1/webhooks/${id}`, { enabled: true })).body).toMatchObject({ enabled: true, disabledReason: null });
    await until(receiver, 1);
    expect(receiver.taken().map(({ room }) => room)).toEqual(['r1']);
  });

  it.each([
    ['a public address over http', 'http://203.0.113.9/hook', 'WEBHOOK_ADDRESS'],
    ['a link-local address', 'https://169.254.169.254/latest', 'WEBHOOK_ADDRESS'],
    ['a link-local address of IPv6', 'https://[fe80::1]/', 'WEBHOOK_ADDRESS'],
    ['one that hides in IPv6', 'https://[::ffff:169.254.169.254]/', 'WEBHOOK_ADDRESS'],
    ['one that hides in a number', 'https://2852039166/', 'WEBHOOK_ADDRESS'],
    ['another protocol', 'ftp://127.0.0.1/', 'BAD_REQUEST'],
    ['a password', 'https://me:secret@example.com/', 'BAD_REQUEST'],
  ])('may not be at %s', async (_name, url, code) => {
    const service = await start();
    expect(await service.call('POST', '/api/v1/webhooks', { url })).toMatchObject({ status: 400, body: { code } });
  });

  it('that is not there is not found', async () => {
    const service = await start();
    for (const [method, path] of [
      ['GET', ''],
      ['DELETE', ''],
      ['POST', '/test'],
      ['POST', '/replay'],
      ['GET', '/dead-letters'],
    ] as const)
      expect(await service.call(method, `/api/v1/webhooks/we_none${path}`)).toMatchObject({ status: 404, body: { code: 'WEBHOOK_NOT_FOUND' } });
  });
});

describe('a message', () => {
  it('comes again until it is taken, before all that follows in its room, with the same id; other rooms go on', async () => {
    let failures = 0;
    const receiver = await startReceiver(({ room, type }) => ({ status: room === 'r1' && type === 'room.started' && failures++ < 2 ? 500 : 200 }));
    const service = await start();
    await addEndpoint(service, { url: receiver.url });
    await Promise.all(['r1', 'r2'].map((room) => liveThrough(service, room)));
    await until(receiver, 2 * LIFE.length);
    const tries = receiver.received.filter(({ room, type }) => room === 'r1' && type === 'room.started');
    expect(tries.map(({ status }) => status)).toEqual([500, 500, 200]);
    expect(new Set(tries.map(({ id }) => id)).size).toBe(1);
    for (const room of ['r1', 'r2'])
      expect(
        receiver
          .taken()
          .filter((one) => one.room === room)
          .map(({ type }) => type),
      ).toEqual(LIFE);
    expect(receiver.taken().findLastIndex(({ room }) => room === 'r2')).toBeLessThan(
      receiver.taken().findIndex(({ type, room }) => room === 'r1' && type === 'room.started'),
    );
  });

  it('comes no sooner than the endpoint asks', async () => {
    const receiver = await startReceiver((_message, index) => (index === 0 ? { status: 503, headers: { 'retry-after': '3' } } : { status: 200 }));
    const service = await start();
    await addEndpoint(service, { url: receiver.url });
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    await until(receiver, 1);
    expect((receiver.received[1]?.atMs ?? 0) - (receiver.received[0]?.atMs ?? 0)).toBeGreaterThanOrEqual(2_990);
  });

  it('waits for no other endpoint', async () => {
    const [service, quick] = [await start(), await startReceiver()];
    const slow = await startReceiver(() => new Promise(() => undefined));
    await addEndpoint(service, { url: slow.url, timeoutMs: 30_000 });
    await addEndpoint(service, { url: quick.url });
    const rooms = Array.from({ length: 60 }, (_, index) => `r${index}`);
    await Promise.all(rooms.map((id) => service.call('POST', '/api/v1/rooms', { id })));
    await until(quick, rooms.length);
    expect(slow.taken()).toEqual([]);
  });

  it('that nobody takes for a day can be read, and comes again when it is asked for', async () => {
    const clock = { offsetMs: 0 };
    let isDown = true;
    const [service, receiver] = [await start(() => Date.now() + clock.offsetMs), await startReceiver(() => ({ status: isDown ? 500 : 200 }))];
    const { id } = await addEndpoint(service, { url: receiver.url });
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    await vi.waitFor(() => expect(receiver.received).toHaveLength(1), WAIT);
    clock.offsetMs = 25 * 3_600_000;
    await vi.waitFor(async () => expect((await service.call('GET', `/api/v1/webhooks/${id}`)).body).toMatchObject({ waiting: 0, dead: 1 }), WAIT);
    const { letters } = (await service.call('GET', `/api/v1/webhooks/${id}/dead-letters`)).body as { letters: Array<{ letter: number }> };
    expect(letters).toMatchObject([
      { message: receiver.received[0]?.id, type: 'room.created', room: 'r1', error: 'HTTP 500', payload: { data: { room: 'r1' } } },
    ]);
    isDown = false;
    expect((await service.call('POST', `/api/v1/webhooks/${id}/replay`, { letters: [(letters[0]?.letter ?? 0) + 1] })).body).toEqual({ replayed: 0 });
    expect((await service.call('POST', `/api/v1/webhooks/${id}/replay`)).body).toEqual({ replayed: 1 });
    await until(receiver, 1);
    expect(receiver.taken()[0]?.id).toBe(receiver.received[0]?.id);
    await vi.waitFor(
      async () => expect((await service.call('GET', `/api/v1/webhooks/${id}`)).body).toMatchObject({ waiting: 0, dead: 0, failingSince: null }),
      WAIT,
    );
  });

  it('is not queued where nobody wants it', async () => {
    const service = await start();
    await liveThrough(service, 'r1');
    const receiver = await startReceiver();
    await addEndpoint(service, { url: receiver.url, enabled: false });
    await liveThrough(service, 'r2');
    expect(await rowsOf(service, 'SELECT * FROM outbox')).toEqual([]);
  });
});
