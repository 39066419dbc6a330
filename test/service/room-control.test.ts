import { describe, expect, it } from 'vitest';
import { roomEvent, startLivekitStandIn, startService } from './fixtures.ts';
import type { TestService, LivekitCall } from './fixtures.ts';

const DONE = [200, {}] as const;
const rooms = '/api/v1/rooms';

async function serviceWith(
  answers: Readonly<Record<string, readonly [number, unknown]>> = {},
): Promise<{ service: TestService; methods: () => string[]; calls: unknown[] }> {
  const { url, calls } = await startLivekitStandIn(undefined, { answers });
  return { service: await startService(url), methods: () => calls.map(({ method }) => method), calls };
}

describe('Idempotency-Key', () => {
  it('makes one room of one request, however often and however close it comes', async () => {
    const { service } = await serviceWith();
    const create = (key: string, body: unknown = { name: 'One' }) => service.call('POST', rooms, body, { 'idempotency-key': key });
    const answers = await Promise.all([create('k1'), create('k1'), create('k1')]);
    expect(answers.map(({ status }) => status)).toEqual([201, 201, 201]);
    expect(new Set(answers.map(({ body }) => body['id'])).size).toBe(1);
    expect((await create('k2')).body['id']).not.toBe(answers[0]?.body['id']);
    expect(await create('k1', { name: 'Two' })).toMatchObject({ status: 422, body: { code: 'IDEMPOTENCY_MISMATCH' } });
    expect(await create('x'.repeat(256))).toMatchObject({ status: 400 });
  });

  it('is free again after a failure', async () => {
    const { service } = await serviceWith({ CreateRoom: [503, { code: 'unavailable', msg: 'no' }] });
    for (let tries = 0; tries < 2; tries++)
      expect(await service.call('POST', rooms, { id: 'r1', start: true }, { 'idempotency-key': 'k' })).toMatchObject({ status: 503 });
    expect(await service.call('POST', rooms, { id: 'r1' }, { 'idempotency-key': 'k' })).toMatchObject({ status: 201 });
  });
});

describe('a room', () => {
  it('is changed, and LiveKit told of its metadata once it has the room', async () => {
    const { service, calls } = await serviceWith({ UpdateRoomMetadata: DONE });
    await service.call('POST', rooms, { id: 'r1' });
    expect(await service.call('PATCH', `${rooms}/r1`, { name: 'New', metadata: 'm1' })).toMatchObject({ status: 200, body: { name: 'New', metadata: 'm1' } });
    await service.call('POST', `${rooms}/r1/join`, { identity: 'ann' });
    expect(calls).toMatchObject([{ method: 'CreateRoom', body: { metadata: 'm1' } }]);
    await service.call('PATCH', `${rooms}/r1`, { metadata: 'm2' });
    expect(calls.at(-1)).toEqual({ method: 'UpdateRoomMetadata', body: { room: 'r1', metadata: 'm2' } });
    expect((await service.call('GET', `${rooms}/r1`)).body).toMatchObject({ name: 'New', metadata: 'm2' });
    expect(await service.call('PATCH', `${rooms}/r1`, { maxParticipants: 3 })).toMatchObject({ status: 400, body: { code: 'BAD_REQUEST' } });
  });

  it('is ended for everyone and for good; its id begins another life', async () => {
    const { service, methods } = await serviceWith({ DeleteRoom: DONE });
    await service.call('POST', rooms, { id: 'r1' });
    await service.call('POST', `${rooms}/r1/join`, { identity: 'ann' });
    const joined = roomEvent('EV_1', 'participant_joined', { participant: 'ann' });
    await service.webhook(joined);
    for (let tries = 0; tries < 2; tries++) expect((await service.call('DELETE', `${rooms}/r1`)).status).toBe(204);
    expect(methods()).toEqual(['CreateRoom', 'DeleteRoom']);
    expect((await service.call('GET', `${rooms}/r1`)).body).toMatchObject({ state: 'finished', numParticipants: 0 });
    for (const [method, path] of [
      ['POST', '/join'],
      ['PATCH', ''],
    ] as const)
      expect(await service.call(method, `${rooms}/r1${path}`, method === 'POST' ? { identity: 'ann' } : {})).toMatchObject({
        status: 409,
        body: { code: 'ROOM_FINISHED' },
      });
    expect((await service.call('POST', rooms, { id: 'r1' })).body).toMatchObject({ state: 'new' });
    // Of the life before.
    await service.webhook({ ...joined, id: 'EV_2' });
    expect((await service.call('GET', `${rooms}/r1`)).body).toMatchObject({ state: 'new', numParticipants: 0 });
  });

  it('that nobody ever joined is ended without LiveKit', async () => {
    const service = await startService('http://127.0.0.1:1');
    await service.call('POST', rooms, { id: 'r1' });
    expect((await service.call('DELETE', `${rooms}/r1`)).status).toBe(204);
    expect((await service.call('GET', `${rooms}/r1`)).body).toMatchObject({ state: 'finished' });
  });

  it('of a node that is gone is made anew to be ended, and stays open where that fails too', async () => {
    const { service, methods } = await serviceWith({ DeleteRoom: [503, { code: 'unavailable', msg: 'no response from servers' }] });
    await service.call('POST', rooms, { id: 'r1', start: true });
    expect(await service.call('DELETE', `${rooms}/r1`)).toMatchObject({ status: 503, body: { code: 'LIVEKIT_UNAVAILABLE' } });
    expect(methods()).toEqual(['CreateRoom', 'DeleteRoom', 'CreateRoom', 'DeleteRoom']);
    expect((await service.call('GET', `${rooms}/r1`)).body).toMatchObject({ state: 'new' });
  });

  it('is listed by state and type', async () => {
    const { service } = await serviceWith();
    for (const [id, type] of [
      ['a', 'voice'],
      ['b', 'video'],
      ['c', 'voice'],
    ])
      await service.call('POST', rooms, { id, type });
    await service.call('DELETE', `${rooms}/c`);
    const ids = async (query: string): Promise<unknown> =>
      ((await service.call('GET', `${rooms}?${query}`)).body['rooms'] as Array<{ id: string }>).map(({ id }) => id);
    expect(await ids('type=voice')).toEqual(['a', 'c']);
    expect(await ids('state=new')).toEqual(['a', 'b']);
    expect(await ids('type=voice&state=finished')).toEqual(['c']);
  });
});

describe('participants', () => {
  it('are those that LiveKit says', async () => {
    const ann = { sid: 'PA_1', identity: 'ann', state: 'ACTIVE', joined_at: '1700000000', tracks: [{ sid: 'TR_1', source: 'MICROPHONE', muted: true }] };
    const { service, methods } = await serviceWith({ ListParticipants: [200, { participants: [ann] }] });
    await service.call('POST', rooms, { id: 'r1' });
    expect((await service.call('GET', `${rooms}/r1/participants`)).body).toEqual({ participants: [] });
    expect(methods()).toEqual([]);
    await service.call('POST', `${rooms}/r1/join`, { identity: 'ann' });
    expect((await service.call('GET', `${rooms}/r1/participants`)).body).toEqual({
      participants: [
        {
          sid: 'PA_1',
          identity: 'ann',
          name: '',
          metadata: '',
          state: 'active',
          joinedAt: '2023-11-14T22:13:20.000Z',
          tracks: [{ sid: 'TR_1', source: 'MICROPHONE', muted: true }],
        },
      ],
    });
  });

  it.each([
    ['DELETE', '/participants/ann', undefined, 'RemoveParticipant', { room: 'r1', identity: 'ann' }],
    ['PATCH', '/participants/ann', { name: 'Ann', metadata: 'm' }, 'UpdateParticipant', { room: 'r1', identity: 'ann', name: 'Ann', metadata: 'm' }],
    [
      'PATCH',
      '/participants/ann',
      { permission: { canPublish: true, canSubscribe: true, canPublishData: false } },
      'UpdateParticipant',
      { permission: { canPublish: true, canSubscribe: true, canPublishData: false, canPublishSources: ['MICROPHONE'] } },
    ],
    ['POST', '/participants/ann/mute', { trackSid: 'TR_1', muted: true }, 'MutePublishedTrack', { track_sid: 'TR_1', muted: true }],
    [
      'POST',
      '/data',
      { data: 'aGk=', topic: 't', identities: ['ann'] },
      'SendData',
      { data: 'aGk=', kind: 'RELIABLE', topic: 't', destination_identities: ['ann'] },
    ],
  ] as const)('%s %s with %j is %s', async (method, path, body, called, what) => {
    const { service, calls } = await serviceWith({ [called]: [200, { track: {} }] });
    await service.call('POST', rooms, { id: 'r1', type: 'voice', start: true });
    expect(await service.call(method, `${rooms}/r1${path}`, body)).toMatchObject({ status: 204 });
    expect((calls as LivekitCall[]).filter((one) => one.method !== 'CreateRoom')).toEqual([{ method: called, body: expect.objectContaining(what) }]);
    expect(await service.call(method, `${rooms}/none${path}`, body)).toMatchObject({ status: 404, body: { code: 'ROOM_NOT_FOUND' } });
  });

  it('who are not in are told of', async () => {
    const { service } = await serviceWith();
    await service.call('POST', rooms, { id: 'r1' });
    expect(await service.call('DELETE', `${rooms}/r1/participants/ann`)).toMatchObject({ status: 404, body: { code: 'PARTICIPANT_NOT_FOUND' } });
  });
});

it('data for a room that LiveKit does not have is heard by nobody, and LiveKit is not asked', async () => {
  const livekit = await startLivekitStandIn(undefined, {
    answers: { DeleteRoom: [200, {}], SendData: [503, { code: 'unavailable', msg: 'no response from servers' }] },
  });
  const service = await startService(livekit.url);
  const send = async (): Promise<number> => (await service.call('POST', '/api/v1/rooms/r1/data', { data: 'AA==' })).status;
  await service.call('POST', '/api/v1/rooms', { id: 'r1' });
  expect(await send()).toBe(204);
  await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' });
  expect(await send()).toBe(503);
  await service.call('DELETE', '/api/v1/rooms/r1');
  expect(await send()).toBe(204);
  expect(livekit.calls.filter(({ method }) => method === 'SendData')).toHaveLength(1);
});
