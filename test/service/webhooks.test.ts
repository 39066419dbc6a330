import { describe, expect, it } from 'vitest';
import { leftEvents } from '../../src/contract/ghosts.ts';
import { apiToken, keys, livekitStartMs, roomEvent, sign, startLivekitStandIn, startService, storedText } from './fixtures.ts';
import type { OnCreate, TestService } from './fixtures.ts';

async function serviceWithRoom(onCreate?: OnCreate): Promise<TestService> {
  const service = await startService((await startLivekitStandIn(onCreate)).url);
  await service.call('POST', '/api/v1/rooms', { id: 'r1' });
  return service;
}

const stateOf = async (service: TestService): Promise<unknown> => {
  const { state, numParticipants } = (await service.call('GET', '/api/v1/rooms/r1')).body;
  return [state, numParticipants];
};

/** What agents tell of `ann`, who was on a node that ended. */
const left = (createdAt: string): object =>
  leftEvents({
    room: {
      sid: 'RM_1',
      name: 'r1',
      metadata: '',
      emptyTimeout: 300,
      departureTimeout: 20,
      creationTime: livekitStartMs / 1000,
      creationTimeMs: livekitStartMs,
    },
    participants: [{ sid: 'PA_ann', identity: 'ann', name: '', metadata: '', joinedAt: livekitStartMs / 1000 }],
    endedAtMs: Date.parse(createdAt),
    isTold: false,
  })[0] ?? {};

describe('a webhook that is not proved to be LiveKit’s', () => {
  const text = JSON.stringify(roomEvent('EV_1', 'room_started'));
  it.each<[string, string, () => Promise<string>]>([
    ['no signature', text, () => Promise.resolve('')],
    ['no JWT', text, () => Promise.resolve('a.b.c')],
    ['an unknown key', text, () => sign(text, { name: 'key9', secret: keys.key1 })],
    // Looked up carelessly, this key's secret would be the source text of Object, which everyone knows.
    ['a key that every object inherits', text, () => sign(text, { name: 'constructor', secret: String(Object) })],
    ['a wrong secret', text, () => sign(text, { name: 'key1', secret: keys.key2 })],
    ['a signature of no body', text, () => sign('')],
    ['a body changed by a byte', text.replace('EV_1', 'EV_2'), () => sign(text)],
    ['a signature that expired 8 s ago', text, () => sign(text, undefined, -8)],
  ])('is refused: %s', async (_name, body, authorization) => {
    const service = await serviceWithRoom();
    expect(await service.post(body, await authorization())).toMatchObject({ status: 401, body: { code: 'WEBHOOK_SIGNATURE' } });
    expect(await service.store.eventsOf('r1')).toEqual([]);
    expect(await stateOf(service)).toEqual(['new', 0]);
  });
});

describe('a webhook', () => {
  it('is taken from every key, 3 s late, and as large as 500 KiB', async () => {
    const service = await serviceWithRoom();
    const second = JSON.stringify(roomEvent('EV_1', 'room_started'));
    expect((await service.post(second, await sign(second, { name: 'key2', secret: keys.key2 }))).status).toBe(200);
    const late = JSON.stringify(roomEvent('EV_2', 'track_published'));
    expect((await service.post(late, await sign(late, undefined, -3))).status).toBe(200);
    expect((await service.webhook({ ...roomEvent('EV_3', 'track_published'), filler: 'x'.repeat(500 * 1024) })).status).toBe(200);
    expect(await service.webhook({ ...roomEvent('EV_4', 'track_published'), filler: 'x'.repeat(1024 * 1024) })).toMatchObject({ status: 413 });
    expect((await service.store.eventsOf('r1')).map(({ id }) => id)).toEqual(['EV_1', 'EV_2', 'EV_3']);
  });

  it('that comes over a connection is answered as any request is, and counted', async () => {
    const service = await startService((await startLivekitStandIn()).url, { logLevel: 'info' });
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    const url = `http://127.0.0.1:${await service.listen()}`;
    const send = async (event: object, authorization?: string): Promise<Response> => {
      const body = JSON.stringify(event);
      const headers = { authorization: authorization ?? (await sign(body)), 'content-type': 'application/webhook+json', 'x-request-id': 'asked-by-a-test' };
      return fetch(`${url}/api/webhook`, { method: 'POST', headers, body });
    };
    const event = roomEvent('EV_1', 'room_started');
    for (const accepted of [true, false]) {
      const answer = await send(event);
      expect([answer.status, await answer.json()]).toEqual([200, { accepted }]);
      expect(Object.fromEntries(answer.headers)).toMatchObject({
        'x-request-id': 'asked-by-a-test',
        'cache-control': 'no-store',
        'x-content-type-options': 'nosniff',
      });
    }
    for (const [status, answer] of [
      [401, await send(event, 'a.b.c')],
      [401, await send(event, await sign('{}'))],
      [400, await send({ no: 'event' })],
      [413, await send({ ...event, filler: 'x'.repeat(1024 * 1024) })],
    ] as const) {
      expect([answer.status, answer.headers.get('content-type')]).toEqual([status, 'application/problem+json; charset=utf-8']);
      expect(answer.headers.get('x-request-id')).toBe('asked-by-a-test');
    }
    expect(service.logs.filter((line) => /"reqId":"asked-by-a-test".*"msg":"request"/.test(line))).toHaveLength(4);
    const metrics = await (await fetch(`${url}/metrics`, { headers: { authorization: `Bearer ${apiToken}` } })).text();
    for (const [code, count] of [
      ['2xx', 2],
      ['4xx', 4],
    ])
      expect(metrics).toMatch(new RegExp(`^livekit_fleet_http_requests_total\\{.*route="/api/webhook",status="${code}".*\\} ${count}$`, 'm'));
  });

  it('moves the room through its life', async () => {
    const service = await serviceWithRoom();
    await service.webhook(roomEvent('EV_1', 'room_started'));
    expect(await stateOf(service)).toEqual(['live', 0]);
    await service.webhook(roomEvent('EV_2', 'participant_joined', { participant: 'ann' }));
    await service.webhook(roomEvent('EV_3', 'participant_joined', { participant: 'bob' }));
    expect(await stateOf(service)).toEqual(['live', 2]);
    await service.webhook(roomEvent('EV_4', 'participant_left', { participant: 'ann' }));
    expect(await stateOf(service)).toEqual(['live', 1]);
    await service.webhook(roomEvent('EV_5', 'room_finished'));
    expect(await stateOf(service)).toEqual(['finished', 0]);
    expect(await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' })).toMatchObject({ status: 409, body: { code: 'ROOM_FINISHED' } });
    const { events } = (await service.call('GET', '/api/v1/rooms/r1/events')).body;
    expect(events).toMatchObject([
      { id: 'EV_1', event: 'room_started', identity: null, receivedAt: expect.any(String) },
      { id: 'EV_2', event: 'participant_joined', identity: 'ann' },
      { id: 'EV_3' },
      { id: 'EV_4', event: 'participant_left', identity: 'ann' },
      { id: 'EV_5', event: 'room_finished' },
    ]);
  });

  it('counts once, however often it comes', async () => {
    const service = await serviceWithRoom();
    const joined = roomEvent('EV_1', 'participant_joined', { participant: 'ann' });
    expect(await service.webhook(joined)).toMatchObject({ status: 200, body: { accepted: true } });
    await service.webhook(roomEvent('EV_2', 'participant_left', { participant: 'ann' }));
    expect(await service.webhook(joined)).toMatchObject({ status: 200, body: { accepted: false } });
    expect(await stateOf(service)).toEqual(['live', 0]);
    expect(await service.store.eventsOf('r1')).toHaveLength(2);
  });

  it('may come out of order', async () => {
    const service = await serviceWithRoom();
    await service.webhook(roomEvent('EV_4', 'room_finished'));
    expect(await stateOf(service)).toEqual(['finished', 0]);
    await service.webhook(roomEvent('EV_1', 'room_started'));
    await service.webhook(roomEvent('EV_3', 'participant_left', { participant: 'ann' }));
    await service.webhook(roomEvent('EV_2', 'participant_joined', { participant: 'ann' }));
    expect(await stateOf(service)).toEqual(['finished', 0]);
  });

  it('may say that someone left before it says that they joined', async () => {
    const service = await serviceWithRoom();
    await service.webhook(roomEvent('EV_2', 'participant_left', { participant: 'ann' }));
    await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
    expect(await stateOf(service)).toEqual(['live', 0]);
  });

  it('counts when it comes before LiveKit’s answer to the room’s creation', async () => {
    const service = await startService(
      (
        await startLivekitStandIn(async ({ name, creationTimeMs }) => {
          await service.webhook(roomEvent('EV_1', 'room_started', { room: name, createdAtMs: creationTimeMs }));
        })
      ).url,
    );
    const made = await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true });
    expect(made).toMatchObject({ status: 201, body: { state: 'live' } });
  });

  it('that agents tell in an ended node’s stead is one, also where they tell it of another second', async () => {
    const service = await serviceWithRoom();
    await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
    expect((await service.webhook(left('2031-01-01T00:00:00Z'))).body).toEqual({ accepted: true });
    expect((await service.webhook(left('2031-01-01T00:00:03Z'))).body).toEqual({ accepted: false });
    expect((await service.store.eventsOf('r1')).map(({ event }) => event)).toEqual(['participant_joined', 'participant_left']);
  });

  it('of a room’s former life leaves its next one alone', async () => {
    const service = await serviceWithRoom();
    await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
    await service.webhook(roomEvent('EV_2', 'room_finished'));
    expect((await service.call('POST', '/api/v1/rooms', { id: 'r1' })).body).toMatchObject({ state: 'new', numParticipants: 0 });
    await service.webhook(roomEvent('EV_3', 'participant_joined', { participant: 'bob', createdAtMs: livekitStartMs + 60_000 }));
    await service.webhook(roomEvent('EV_4', 'room_finished'));
    expect(await stateOf(service)).toEqual(['live', 1]);
  });

  it('leaves no TURN password on the disk or in the log', async () => {
    const service = await serviceWithRoom();
    await service.webhook(roomEvent('EV_1', 'room_started'));
    expect(await storedText(service)).toContain('EV_1');
    expect((await storedText(service)) + service.logs.join('')).not.toContain('TURN-PASSWORD');
  });

  it.each([
    ['{"id":"EV_1","event":"room_started","room":{"name":"r1","turnPassword" : "TURN-PASSWORD"}}'],
    ['{"id":"EV_1","event":"room_started","room":{"turn_password":"TURN-PASSWORD","name":"r1"}}'],
    ['{"id":"EV_1","event":"room_started","room":{"name":"r1","turnPassword":"TURN-PASSWORD\\""}}'],
    ['{"id":"EV_1","event":"room_started","room":{"name":"r1","\\u0074urnPassword":"TURN-PASSWORD"}}'],
    ['{"id":"EV_1","event":"room_started","room":{"name":"r1","turnPassword":["TURN-PASSWORD"]}}'],
  ])('leaves none in any way to write it: %s', async (text) => {
    const service = await serviceWithRoom();
    expect((await service.post(text, await sign(text))).status).toBe(200);
    const kept = await storedText(service);
    expect(kept).toContain('EV_1');
    expect(kept).not.toContain('TURN-PASSWORD');
  });

  // The agent drops what is refused so: both take by one schema.
  it.each<[string, object]>([
    ['about an egress', { event: 'egress_started', egressInfo: { egressId: 'EG_1', roomName: 'r1' } }],
    ['about an ingress', { event: 'ingress_started', ingressInfo: { ingressId: 'IN_1', roomName: 'r1' } }],
    ['of a kind that is not known yet', { event: 'something_new', somethingNew: { a: 1 } }],
    ['with empty members, which protobuf leaves out', { event: 'participant_joined', room: {}, participant: {} }],
    ['with null members', { event: 'room_started', room: null, participant: null }],
  ])('%s is taken', async (_name, event) => {
    const service = await serviceWithRoom();
    expect(await service.webhook({ id: 'EV_1', ...event })).toMatchObject({ status: 200, body: { accepted: true } });
  });

  it('without an id is refused', async () => {
    const service = await serviceWithRoom();
    expect(await service.webhook({ event: 'room_started' })).toMatchObject({ status: 400, body: { code: 'WEBHOOK_BODY' } });
  });

  it('is counted: taken, late, unknown, duplicate, refused', async () => {
    const service = await serviceWithRoom();
    const joined = roomEvent('EV_1', 'participant_joined', { participant: 'ann' });
    await service.webhook(joined);
    await service.webhook(joined);
    await service.webhook(roomEvent('EV_2', 'something_new'));
    await service.webhook(roomEvent('EV_3', 'participant_left', { participant: 'ann', createdAtMs: livekitStartMs - 3_600_000 }));
    await service.webhook(roomEvent('EV_4', 'room_started', { room: 'unheard-of' }));
    await service.post('{}', await sign('{}'));
    await service.post('{}', await sign('{"other":1}'));
    await service.post('{}', await sign('{}', undefined, -60));
    await service.post('{}', 'nothing');
    expect(service.incoming.snapshot()).toEqual({ taken: 4, late: 2, unknown: 1, duplicate: 1, badSignature: 3, badBody: 1 });
    expect((await service.store.eventsOf('r1')).map(({ id }) => id)).toContain('EV_2');
  });
});
