import { TokenVerifier } from 'livekit-server-sdk';
import { describe, expect, it } from 'vitest';
import { keys } from '../fixtures.ts';
import { startCallService } from './fixtures.ts';
import type { CallService } from './fixtures.ts';

const direct = { id: 'c1', caller: 'ann', invitees: ['bob'], metadata: '{"topic":"晨会"}' };
const group = { id: 'c1', caller: 'ann', invitees: ['bob', 'cid'], mode: 'group' };

/** Both have answered and are in. */
async function talking(wanted: Record<string, unknown> = direct): Promise<CallService> {
  const service = await startCallService();
  expect((await service.ask('', wanted)).status).toBe(201);
  expect((await service.call('POST', '/api/v1/rooms/c1/join', { identity: 'ann' })).status).toBe(200);
  await service.comes('ann');
  expect((await service.ask('/c1/accept', { by: 'bob' })).status).toBe(200);
  await service.comes('bob');
  expect(await service.states()).toEqual(['active', null, expect.objectContaining({ ann: 'joined', bob: 'joined' })]);
  return service;
}

describe('a call', () => {
  it('rings, with all that a push service needs', async () => {
    const service = await startCallService();
    const { status, body } = await service.ask('', { ...direct, type: 'voice', name: '早' });
    expect(status).toBe(201);
    const ringsUntil = new Date(Date.now() + 60_000).toISOString();
    expect(body).toMatchObject({ id: 'c1', type: 'voice', mode: 'direct', state: 'ringing', ringTimeout: 60, reconnectGrace: 20 });
    expect(body['parties']).toMatchObject([
      { identity: 'ann', state: 'accepted', invitedBy: null },
      { identity: 'bob', state: 'ringing', invitedBy: 'ann', ringsUntil },
    ]);
    expect(await service.told()).toMatchObject([
      {
        type: 'call.ringing',
        data: {
          room: 'c1',
          call: { id: 'c1', name: '早', type: 'voice', caller: 'ann', metadata: direct.metadata },
          parties: [{ identity: 'bob', ringsUntil }],
        },
      },
    ]);
    expect(await service.shown()).toEqual(body);
  });

  it('gives whoever accepts an address and a token of their own', async () => {
    const service = await startCallService();
    await service.ask('', { ...direct, type: 'voice' });
    const { status, body } = await service.ask('/c1/accept', { by: 'bob', name: '鲍勃' });
    expect([status, body['url']]).toEqual([200, 'wss://meet.example.com']);
    const { video, sub, name } = await new TokenVerifier('key1', keys.key1).verify(String(body['token']));
    expect([sub, name, video]).toMatchObject(['bob', '鲍勃', { room: 'c1', roomJoin: true, canPublishSources: ['microphone'] }]);
    // Once more, and for the caller as well.
    for (const by of ['bob', 'ann']) expect((await service.ask('/c1/accept', { by })).status).toBe(200);
    expect((await service.told()).map(({ type }) => type)).toEqual(['call.ringing', 'call.accepted', 'call.started']);
  });

  it('ends for both when one hangs up, in LiveKit too, and is history', async () => {
    const service = await talking();
    await service.wait(61_000);
    expect((await service.ask('/c1/leave', { by: 'bob' })).body).toMatchObject({ state: 'ended', reason: 'completed' });
    await service.wait(1);
    expect(service.asked).toEqual(['delete c1']);
    await service.wait(60_000);
    expect(service.asked).toEqual(['delete c1']);
    const types = (await service.told()).map(({ type, data }) => `${type.slice(5)} ${data.parties.map(({ identity }) => String(identity)).join('+')}`);
    expect(types).toEqual(['ringing bob', 'joined ann', 'accepted bob', 'started ann+bob', 'joined bob', 'left bob', 'left ann', 'ended ann+bob']);
    expect((await service.call('GET', '/api/v1/history')).body).toMatchObject({ rooms: [{ id: 'c1', reason: 'ended', participants: [{}, {}] }] });
    expect((await service.call('GET', '/api/v1/calls?by=bob')).body).toMatchObject({ calls: [{ id: 'c1', state: 'ended' }], cursor: null });
    expect(await service.ask('/c1/accept', { by: 'bob' })).toMatchObject({ status: 409, body: { code: 'CALL_ENDED' } });
    // The id begins another life.
    expect((await service.ask('', direct)).status).toBe(201);
    expect(await service.states()).toEqual(['ringing', null, { ann: 'accepted', bob: 'ringing' }]);
  });

  it('is missed in time', async () => {
    const service = await startCallService();
    await service.ask('', { ...direct, ringTimeout: 30 });
    await service.wait(29_999);
    expect(await service.states()).toEqual(['ringing', null, { ann: 'accepted', bob: 'ringing' }]);
    await service.wait(1);
    expect(await service.states()).toEqual(['ended', 'missed', { ann: 'left', bob: 'missed' }]);
    // LiveKit never heard of it.
    expect(service.asked).toEqual([]);
    expect((await service.told()).map(({ type }) => type)).toEqual(['call.ringing', 'call.missed', 'call.left', 'call.ended']);
  });

  it.each([
    ['reject', 'bob', 'rejected'],
    ['cancel', 'ann', 'cancelled'],
    ['leave', 'ann', 'cancelled'],
    ['leave', 'bob', 'rejected'],
    ['end', 'ann', 'cancelled'],
  ])('%s by %s: it was %s', async (what, by, reason) => {
    const service = await startCallService();
    await service.ask('', direct);
    expect(await service.ask(`/c1/${what}`, { by })).toMatchObject({ status: 200, body: { state: 'ended', reason } });
    // Sent again, it is the same.
    expect(await service.ask(`/c1/${what}`, { by })).toMatchObject({ status: 200, body: { state: 'ended', reason } });
    expect(await service.ask('/c1/accept', { by: 'bob' })).toMatchObject({ status: 409, body: { code: 'CALL_ENDED' } });
  });

  it('finds who talks with another busy, or rings all the same', async () => {
    const service = await talking();
    expect((await service.ask('', { id: 'c2', caller: 'cid', invitees: ['bob'] })).body).toMatchObject({ state: 'ended', reason: 'busy' });
    expect((await service.ask('', { id: 'c3', caller: 'cid', invitees: ['bob'], busy: 'ring' })).body).toMatchObject({ state: 'ringing' });
    expect((await service.ask('', { id: 'c4', caller: 'dan', invitees: ['bob', 'eve'] })).body).toMatchObject({
      state: 'ringing',
      parties: [{}, { identity: 'bob', state: 'busy' }, { identity: 'eve', state: 'ringing' }],
    });
    await service.ask('/c1/leave', { by: 'ann' });
    expect((await service.ask('', { id: 'c5', caller: 'cid', invitees: ['bob'] })).body).toMatchObject({ state: 'ringing' });
  });

  it('has the place that it invites to', async () => {
    const service = await talking({ ...direct, maxParticipants: 2 });
    expect((await service.ask('/c1/accept', { by: 'bob' })).status).toBe(200);
    expect(await service.ask('/c1/invite', { by: 'ann', invitees: ['cid'] })).toMatchObject({ status: 409, body: { code: 'CALL_FULL' } });
    expect(await service.ask('', { ...group, id: 'c2', maxParticipants: 2 })).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } });
  });

  it('is entered by those alone who were asked, on whatever way', async () => {
    const service = await talking();
    for (const [path, body] of [
      ['calls/c1/accept', { by: 'eve' }],
      ['rooms/c1/join', { identity: 'eve' }],
      ['calls/c1/leave', { by: 'eve' }],
      ['calls/c1/end', { by: 'eve' }],
      ['calls/c1/invite', { by: 'eve', invitees: ['fay'] }],
    ] as const)
      expect(await service.call('POST', `/api/v1/${path}`, body)).toMatchObject({ status: 403, body: { code: 'NOT_YOUR_CALL' } });
    expect((await service.call('GET', '/api/v1/calls/c1?by=eve')).status).toBe(404);
    expect((await service.call('GET', '/api/v1/calls/c1?by=bob')).status).toBe(200);
    expect((await service.call('GET', '/api/v1/calls?by=eve')).body).toEqual({ calls: [], cursor: null });
    for (const path of ['', '/accept', '/end']) {
      const answer = await service.call(path === '' ? 'GET' : 'POST', `/api/v1/calls/none${path}`, path === '' ? undefined : { by: 'ann' });
      expect(answer).toMatchObject({ status: 404, body: { code: 'CALL_NOT_FOUND' } });
    }
    expect(await service.ask('/c1/cancel', { by: 'ann' })).toMatchObject({ status: 409, body: { code: 'CALL_STATE' } });
  });

  it('is made once for one Idempotency-Key', async () => {
    const service = await startCallService();
    const headers = { authorization: 'Bearer the-api-token', 'idempotency-key': 'k1' };
    const wanted = { caller: 'ann', invitees: ['bob'] };
    const [one, two] = [await service.ask('', wanted, headers), await service.ask('', wanted, headers)];
    expect([one.status, two.status, two.body]).toEqual([201, 201, one.body]);
    expect(await service.ask('', { ...wanted, caller: 'cid' }, headers)).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_MISMATCH' } });
    expect(await service.told()).toHaveLength(1);
    expect((await service.call('GET', '/api/v1/calls')).body['calls']).toHaveLength(1);
    expect(await service.ask('', { ...wanted, id: one.body['id'] })).toMatchObject({ status: 409, body: { code: 'ROOM_EXISTS' } });
  });

  it('is what a room with invitees is', async () => {
    const service = await startCallService();
    const room = await service.call('POST', '/api/v1/rooms', direct);
    expect(room).toMatchObject({ status: 201, body: { id: 'c1', isCall: true, state: 'new' } });
    expect(await service.states()).toEqual(['ringing', null, { ann: 'accepted', bob: 'ringing' }]);
    // To join is to accept, to leave to hang up.
    await service.call('POST', '/api/v1/rooms/c1/join', { identity: 'bob' });
    expect((await service.states())[0]).toBe('active');
    await service.call('POST', '/api/v1/rooms/c1/leave', { identity: 'bob' });
    expect(await service.states()).toEqual(['ended', 'completed', { ann: 'left', bob: 'left' }]);
    await service.ask('', { ...direct, id: 'c2' });
    expect((await service.call('DELETE', '/api/v1/rooms/c2')).status).toBe(204);
    expect((await service.states('c2')).slice(0, 2)).toEqual(['ended', 'cancelled']);
    for (const wrong of [{ invitees: ['bob'] }, { ringTimeout: 30 }, { ...direct, start: true }, { ...direct, invitees: ['ann'] }, { ...direct, invitees: [] }])
      expect((await service.call('POST', '/api/v1/rooms', wrong)).status).toBe(400);
  });
});

describe('a network change', () => {
  it.each(['SIGNAL_CLOSE', 'CONNECTION_TIMEOUT', 'STATE_MISMATCH', 'SERVER_SHUTDOWN', 'DUPLICATE_IDENTITY', 'MIGRATION', 'UNKNOWN_REASON'])(
    '%s does not end the call of who comes back in time',
    async (reason) => {
      const service = await talking();
      await service.goes('bob', reason);
      expect((await service.shown())['parties']).toMatchObject([{ isAway: false }, { state: 'joined', isAway: true, reason: null }]);
      await service.wait(19_000);
      await service.comes('bob', 2);
      await service.wait(60_000);
      expect(await service.states()).toEqual(['active', null, { ann: 'joined', bob: 'joined' }]);
      expect(service.asked).toEqual([]);
    },
  );

  it('ends the call of who does not', async () => {
    const service = await talking({ ...direct, reconnectGrace: 8 });
    await service.goes('bob', 'CONNECTION_TIMEOUT');
    await service.wait(7_999);
    expect((await service.states())[0]).toBe('active');
    await service.wait(1);
    expect(await service.states()).toEqual(['ended', 'failed', { ann: 'left', bob: 'left' }]);
    expect((await service.shown())['parties']).toMatchObject([{ reason: 'ended' }, { reason: 'lost' }]);
  });

  it('is none where the new connection is told of before the end of the old one', async () => {
    const service = await talking();
    await service.comes('bob', 2);
    await service.goes('bob', 'DUPLICATE_IDENTITY');
    expect((await service.shown())['parties']).toMatchObject([{ isAway: false }, { state: 'joined', isAway: false }]);
    // Told of in the wrong order: nothing is left of the second connection.
    await service.goes('bob', 'CLIENT_INITIATED', 3);
    await service.comes('bob', 3);
    await service.goes('bob', 'CLIENT_INITIATED', 2);
    await service.wait(3_000);
    expect((await service.states()).slice(0, 2)).toEqual(['ended', 'completed']);
  });

  it('lets a client say good-bye before it enters anew, and hangs up soon after a good-bye', async () => {
    const service = await talking();
    await service.goes('bob', 'CLIENT_INITIATED');
    await service.wait(2_000);
    await service.comes('bob', 2);
    await service.wait(20_000);
    expect((await service.states())[0]).toBe('active');
    await service.goes('bob', 'CLIENT_INITIATED', 2);
    await service.wait(3_000);
    expect((await service.states()).slice(0, 2)).toEqual(['ended', 'completed']);
  });

  it('takes nobody for absent whom LiveKit has, or while it does not say', async () => {
    const service = await talking();
    await service.goes('bob', 'CONNECTION_TIMEOUT');
    service.livekitHas = null;
    await service.wait(30_000);
    expect((await service.states())[0]).toBe('active');
    service.livekitHas = ['ann', 'bob'];
    await service.wait(1_000);
    expect((await service.shown())['parties']).toMatchObject([{ isAway: false }, { state: 'joined', isAway: false }]);
    await service.goes('ann', 'CONNECTION_TIMEOUT');
    service.livekitHas = null;
    await service.wait(79_999);
    expect((await service.states())[0]).toBe('active');
    await service.wait(1);
    expect((await service.states()).slice(0, 2)).toEqual(['ended', 'failed']);
    // The room is closed as soon as LiveKit answers.
    service.asked.length = 0;
    service.livekitHas = [];
    await service.wait(10_000);
    await service.wait(60_000);
    expect(service.asked).toEqual(['delete c1']);
  });

  it('of who was removed is none', async () => {
    const service = await talking();
    await service.goes('bob', 'PARTICIPANT_REMOVED');
    expect(await service.states()).toEqual(['ended', 'completed', { ann: 'left', bob: 'removed' }]);
  });

  it('of which the webhooks come late ends no later for that', async () => {
    const service = await talking();
    const leftAtS = Math.floor(Date.now() / 1000);
    await service.wait(40_000);
    await service.webhook({
      id: 'EV_late',
      event: 'participant_left',
      room: { name: 'c1', creationTimeMs: String(Date.now() + 1) },
      participant: { identity: 'bob', sid: 'PA_bob1', disconnectReason: 'CONNECTION_TIMEOUT' },
      createdAt: String(leftAtS),
    });
    await service.wait(0);
    expect((await service.states()).slice(0, 2)).toEqual(['ended', 'failed']);
  });
});

describe('a group call', () => {
  it('takes who leaves out of LiveKit, goes on with one, and lets them come back', async () => {
    const service = await talking(group);
    await service.ask('/c1/leave', { by: 'ann' });
    await service.wait(1);
    expect(service.asked).toEqual(['remove ann from c1']);
    await service.goes('ann', 'PARTICIPANT_REMOVED');
    expect(await service.states()).toEqual(['active', null, { ann: 'left', bob: 'joined', cid: 'ringing' }]);
    expect((await service.ask('/c1/accept', { by: 'ann' })).status).toBe(200);
    await service.comes('ann', 2);
    await service.ask('/c1/cancel', { by: 'ann', identities: ['cid'] });
    await service.ask('/c1/invite', { by: 'bob', invitees: ['dan', 'ann'] });
    expect((await service.states())[2]).toEqual({ ann: 'joined', bob: 'joined', cid: 'cancelled', dan: 'ringing' });
    for (const by of ['ann', 'bob']) await service.ask('/c1/leave', { by });
    expect(await service.states()).toEqual(['ended', 'completed', { ann: 'left', bob: 'left', cid: 'cancelled', dan: 'cancelled' }]);
  });

  it('has failed when its room is gone', async () => {
    const service = await talking(group);
    await service.webhook({
      id: 'EV_end',
      event: 'room_finished',
      room: { name: 'c1', creationTimeMs: String(Date.now() + 60_000) },
      createdAt: String(Math.floor(Date.now() / 1000)),
    });
    expect((await service.states()).slice(0, 2)).toEqual(['ended', 'failed']);
    expect((await service.call('GET', '/api/v1/rooms/c1')).body).toMatchObject({ state: 'finished' });
  });

  it('is closed again in LiveKit when an old token opens it', async () => {
    const service = await talking(group);
    await service.ask('/c1/end', {});
    await service.wait(1);
    await service.comes('bob', 7);
    await service.wait(1);
    expect(service.asked).toEqual(['delete c1', 'delete c1']);
  });
});

describe('sync', () => {
  it('gives what rings and what goes on, with fresh tokens for the latter', async () => {
    const service = await talking();
    await service.ask('', { id: 'c2', caller: 'cid', invitees: ['bob'], busy: 'ring' });
    const { calls } = (await service.call('GET', '/api/v1/users/bob/sync')).body as { calls: Array<{ call: { id: string }; join: { token: string } | null }> };
    expect(calls.map(({ call, join }) => [call.id, join !== null])).toEqual([
      ['c2', false],
      ['c1', true],
    ]);
    const { sub, video } = await new TokenVerifier('key1', keys.key1).verify(calls[1]?.join?.token ?? '');
    expect([sub, video?.room]).toEqual(['bob', 'c1']);
    expect((await service.call('GET', '/api/v1/users/eve/sync')).body).toEqual({ calls: [] });
    await service.ask('/c2/reject', { by: 'bob' });
    await service.ask('/c1/leave', { by: 'ann' });
    expect((await service.call('GET', '/api/v1/users/bob/sync')).body).toEqual({ calls: [] });
  });
});
