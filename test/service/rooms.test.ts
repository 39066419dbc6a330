import { createServer } from 'node:http';
import { TokenVerifier } from 'livekit-server-sdk';
import { describe, expect, it } from 'vitest';
import { apiToken, keys, listen, roomEvent, startLivekitStandIn, startService } from './fixtures.ts';
import type { Answer } from './fixtures.ts';

/** An address where nothing listens. */
const nowhere = 'http://127.0.0.1:1';

describe('authentication', () => {
  it.each([
    ['no header', ''],
    ['another token', 'Bearer another'],
    ['the token without its scheme', apiToken],
    ['another scheme', `Basic ${apiToken}`],
    ['more than the token', `Bearer ${apiToken} x`],
  ])('refuses %s on every address under /api/v1', async (_name, authorization) => {
    const livekit = await startLivekitStandIn();
    const service = await startService(livekit.url);
    for (const [method, url] of [
      ['POST', '/api/v1/rooms'],
      ['GET', '/api/v1/rooms'],
      ['GET', '/api/v1/rooms/r1'],
      ['POST', '/api/v1/rooms/r1/join'],
      ['POST', '/api/v1/rooms/r1/leave'],
      ['GET', '/api/v1/rooms/r1/events'],
      ['GET', '/api/v1/unknown'],
    ] as const) {
      const answer = await service.call(method, url, method === 'POST' ? { identity: 'ann' } : undefined, { authorization });
      expect(answer).toMatchObject({ status: 401, type: expect.stringContaining('application/problem+json'), body: { code: 'UNAUTHORIZED', status: 401 } });
    }
    expect(livekit.calls).toEqual([]);
  });

  it('keeps tokens out of the log', async () => {
    const service = await startService(nowhere);
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    await service.call('GET', '/api/v1/rooms');
    const log = service.logs.join('');
    expect(log).toMatch(/"reqId":"[0-9a-f-]{36}"/);
    for (const secret of [apiToken, ...Object.values(keys)]) expect(log).not.toContain(secret);
  });
});

describe('rooms', () => {
  it('creates a room, which LiveKit makes when somebody joins it, and only once', async () => {
    const livekit = await startLivekitStandIn();
    const service = await startService(livekit.url);
    const made = await service.call('POST', '/api/v1/rooms', { id: 'r1', name: '晨会', maxParticipants: 5, emptyTimeout: 60, metadata: 'm' });
    expect(made.status).toBe(201);
    const shown = {
      id: 'r1',
      name: '晨会',
      type: 'video',
      isCall: false,
      maxParticipants: 5,
      metadata: 'm',
      state: 'new',
      numParticipants: 0,
      createdAt: expect.any(String),
    };
    expect(made.body).toEqual(shown);
    expect(livekit.calls).toEqual([]);
    const joins = await Promise.all(['ann', 'bob'].map((identity) => service.call('POST', '/api/v1/rooms/r1/join', { identity })));
    expect(joins.map(({ status }) => status)).toEqual([200, 200]);
    await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'cid' });
    expect(livekit.calls).toEqual([
      { method: 'CreateRoom', body: expect.objectContaining({ name: 'r1', maxParticipants: 5, emptyTimeout: 60, metadata: 'm' }) },
    ]);
    expect((await service.call('GET', '/api/v1/rooms/r1')).body).toEqual(made.body);
    expect(await service.call('POST', '/api/v1/rooms', { id: 'r1' })).toMatchObject({ status: 409, body: { code: 'ROOM_EXISTS' } });
  });

  it('lets LiveKit make a room at once for who asks for that', async () => {
    const livekit = await startLivekitStandIn();
    const service = await startService(livekit.url);
    expect((await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true })).status).toBe(201);
    expect(livekit.calls).toMatchObject([{ method: 'CreateRoom', body: { name: 'r1' } }]);
    await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' });
    expect(livekit.calls).toHaveLength(1);
  });

  it('takes as many participants as it was made for, and those again who are in', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    await service.call('POST', '/api/v1/rooms', { id: 'r1', maxParticipants: 2 });
    const join = (identity: string): Promise<Answer> => service.call('POST', '/api/v1/rooms/r1/join', { identity });
    await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
    expect((await join('bob')).status).toBe(200);
    await service.webhook(roomEvent('EV_2', 'participant_joined', { participant: 'bob' }));
    expect(await join('cid')).toMatchObject({ status: 409, body: { code: 'ROOM_FULL' } });
    expect((await join('ann')).status).toBe(200);
    await service.webhook(roomEvent('EV_3', 'participant_left', { participant: 'ann' }));
    expect((await join('cid')).status).toBe(200);
  });

  it('lets nobody show a picture in a voice room', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    await service.call('POST', '/api/v1/rooms', { id: 'r1', type: 'voice' });
    const { body } = await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' });
    const { video } = await new TokenVerifier('key1', keys.key1).verify(String(body['token']));
    expect(video).toMatchObject({ canPublish: true, canPublishSources: ['microphone'] });
  });

  it('gives a room that two ask for at once to one of them', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    const answers = await Promise.all([1, 2].map(() => service.call('POST', '/api/v1/rooms', { id: 'r1' })));
    expect(answers.map(({ status }) => status).toSorted()).toEqual([201, 409]);
  });

  it('answers 503, and stores nothing, to who wants a room at once while LiveKit is down', async () => {
    const service = await startService(nowhere);
    expect(await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true })).toMatchObject({ status: 503, body: { code: 'LIVEKIT_UNAVAILABLE' } });
    expect(await service.store.listRooms({ limit: 10, cursor: null })).toEqual([]);
  });

  it.each([
    [400, 400, 'LIVEKIT_REFUSED'],
    [401, 503, 'LIVEKIT_UNAVAILABLE'],
    [503, 503, 'LIVEKIT_UNAVAILABLE'],
  ])('stores nothing of a room that is to be made at once when LiveKit answers %i', async (livekitStatus, status, code) => {
    const service = await startService((await startLivekitStandIn(() => livekitStatus)).url);
    expect(await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true })).toMatchObject({ status, body: { code } });
    expect(await service.store.findRoom('r1')).toBeNull();
  });

  it('lists rooms page by page', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    for (const id of ['c', 'a', 'b']) await service.call('POST', '/api/v1/rooms', { id });
    const first = await service.call('GET', '/api/v1/rooms?limit=2');
    expect(first.body).toMatchObject({ rooms: [{ id: 'a' }, { id: 'b' }], cursor: 'b' });
    expect((await service.call('GET', '/api/v1/rooms?limit=2&cursor=b')).body).toMatchObject({ rooms: [{ id: 'c' }], cursor: null });
  });

  it('gives a token for this room and identity only, at the node of the room', async () => {
    const agent = await listen(
      createServer((request, response) => void response.end(JSON.stringify({ path: request.url === '/v1/rooms/r1/node' ? '/n/m1' : '' }))),
    );
    const service = await startService((await startLivekitStandIn()).url, { nodeLookupUrl: agent });
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    const { status, body } = await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann', name: 'Ann', canPublish: false });
    expect(status).toBe(200);
    expect(body).toMatchObject({ url: 'wss://meet.example.com/n/m1', identity: 'ann', room: 'r1' });
    const claims = await new TokenVerifier('key1', keys.key1).verify(String(body['token']));
    expect(claims).toMatchObject({ sub: 'ann', name: 'Ann' });
    expect(claims.video).toEqual({ roomJoin: true, room: 'r1', canPublish: false, canSubscribe: true, canPublishData: true });
    expect(Math.abs(Date.parse(String(body['expiresAt'])) / 1000 - Number(claims.exp))).toBeLessThanOrEqual(1);
  });

  it.each([
    ['http', 'ws://localhost:8000', 'ws://localhost:8000'],
    ['https', 'ws://localhost:8000', 'wss://meet.example.com'],
    ['http', null, 'wss://meet.example.com'],
    [undefined, 'ws://localhost:8000', 'wss://meet.example.com'],
  ])('answers who comes over %s, with %s as the address without TLS, with %s', async (scheme, plainUrl, url) => {
    const service = await startService((await startLivekitStandIn()).url, { plainUrl });
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    const headers: Record<string, string> = scheme === undefined ? {} : { 'x-forwarded-proto': scheme };
    expect(await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' }, headers)).toMatchObject({ status: 200, body: { url } });
  });

  it.each<[string, Parameters<typeof createServer>[1]]>([
    ['says 404', (_request, response) => void response.writeHead(404).end('{"error":"ROOM_HAS_NO_NODE"}')],
    ['says nonsense', (_request, response) => void response.end('<html>')],
    ['names a path elsewhere', (_request, response) => void response.end('{"path":"@evil.example"}')],
    ['says nothing', () => undefined],
  ])('joins at the plain address when the agent %s', async (_name, handler) => {
    const service = await startService((await startLivekitStandIn()).url, { nodeLookupUrl: await listen(createServer(handler)) });
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    expect(await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' })).toMatchObject({ status: 200, body: { url: 'wss://meet.example.com' } });
  });

  it('removes who leaves from LiveKit, also when already gone', async () => {
    const livekit = await startLivekitStandIn();
    const service = await startService(livekit.url);
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    expect((await service.call('POST', '/api/v1/rooms/r1/leave', { identity: 'ann' })).status).toBe(204);
    expect(livekit.calls.at(-1)).toEqual({ method: 'RemoveParticipant', body: { room: 'r1', identity: 'ann' } });
  });

  it.each([
    ['POST', '/api/v1/rooms', { id: 'a/b' }, 400, 'BAD_REQUEST'],
    ['POST', '/api/v1/rooms', { id: '..' }, 400, 'BAD_REQUEST'],
    ['POST', '/api/v1/rooms', { unknown: 1 }, 400, 'BAD_REQUEST'],
    ['POST', '/api/v1/rooms', { metadata: 'x'.repeat(64 * 1024) }, 413, 'BODY_TOO_LARGE'],
    ['GET', '/api/v1/rooms?limit=0', undefined, 400, 'BAD_REQUEST'],
    ['GET', '/api/v1/rooms/none', undefined, 404, 'ROOM_NOT_FOUND'],
    ['POST', '/api/v1/rooms/none/join', { identity: 'ann' }, 404, 'ROOM_NOT_FOUND'],
    ['POST', '/api/v1/rooms/none/join', {}, 400, 'BAD_REQUEST'],
    ['GET', '/api/v1/unknown', undefined, 404, 'NOT_FOUND'],
    ['GET', '/api/v1/rooms/%zz', undefined, 400, 'BAD_REQUEST'],
    ['GET', '/elsewhere', undefined, 404, 'NOT_FOUND'],
  ] as const)('answers %s %s with a problem', async (method, url, body, status, code) => {
    const service = await startService((await startLivekitStandIn()).url);
    const answer = await service.call(method, url, body);
    expect(answer.type).toContain('application/problem+json');
    expect(answer).toMatchObject({ status, body: { type: 'about:blank', title: expect.any(String), status, code, detail: expect.any(String) } });
  });
});

describe('health', () => {
  it.each(['', '/api'])('is ready at %s/readyz with the database and LiveKit, without a token', async (prefix) => {
    const service = await startService((await startLivekitStandIn()).url);
    expect((await service.call('GET', `${prefix}/healthz`, undefined, { authorization: '' })).status).toBe(200);
    expect(await service.call('GET', `${prefix}/readyz`, undefined, { authorization: '' })).toMatchObject({ status: 200, body: { reasons: [] } });
  });

  it('is alive but not ready without LiveKit, and says why', async () => {
    const service = await startService(nowhere);
    expect((await service.call('GET', '/healthz')).status).toBe(200);
    expect(await service.call('GET', '/readyz')).toMatchObject({ status: 503, body: { reasons: ['livekit: unreachable'] } });
  });
});

describe('the log', () => {
  it('says what was asked, without the query and the headers, where a token may stand', async () => {
    const service = await startService(nowhere);
    const token = 'secret-of-the-test';
    for (const path of ['/api/healthz', '/api/nothing', '/api/v1/rooms', '/api/%'])
      await service.call('GET', `${path}?access_token=${token}`, undefined, { authorization: `Bearer ${token}` });
    const log = service.logs.join('');
    expect(log).toContain('"req":{"method":"GET","path":"/api/v1/rooms","remoteAddress":"127.0.0.1"}');
    expect(log).not.toContain(token);
  });
});
