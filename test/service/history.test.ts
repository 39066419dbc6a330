import { expect, it } from 'vitest';
import { livekitStartMs, roomEvent, startLivekitStandIn, startService } from './fixtures.ts';

const atS = Math.floor(livekitStartMs / 1000);
const later = (event: Record<string, unknown>, seconds: number): Record<string, unknown> => ({ ...event, createdAt: String(atS + seconds) });

it('tells of rooms that have ended: who was in them, for how long, and why they left', async () => {
  const service = await startService((await startLivekitStandIn()).url);
  const history = async (query = ''): Promise<Record<string, unknown>> => (await service.call('GET', `/api/v1/history${query}`)).body;
  await service.call('POST', '/api/v1/rooms', { id: 'r1', name: 'One', type: 'voice' });
  const joined = roomEvent('EV_1', 'participant_joined', { participant: 'ann' });
  const left = later(roomEvent('EV_2', 'participant_left', { participant: 'ann' }), 90);
  await service.webhook(joined);
  await service.webhook({ ...left, participant: { sid: 'PA_ann', identity: 'ann', disconnectReason: 'CLIENT_INITIATED' } });
  await service.webhook(later(roomEvent('EV_3', 'participant_joined', { participant: 'bob' }), 30));
  expect(await history()).toEqual({ rooms: [], cursor: null });
  await service.webhook(later(roomEvent('EV_4', 'room_finished'), 120));
  const ann = { identity: 'ann', name: '', seconds: 90, reason: 'CLIENT_INITIATED', joinedAt: expect.any(String), leftAt: expect.any(String) };
  const first = {
    id: 'r1',
    name: 'One',
    type: 'voice',
    createdAt: expect.any(String),
    reason: 'empty',
    finishedAt: new Date((atS + 120) * 1000).toISOString(),
    participants: [ann, { ...ann, identity: 'bob', reason: 'ROOM_CLOSED' }],
  };
  expect(await history()).toEqual({ rooms: [first], cursor: null });

  // Each life of an id is one of its own.
  await service.call('POST', '/api/v1/rooms', { id: 'r1' });
  await service.call('DELETE', '/api/v1/rooms/r1');
  await service.call('POST', '/api/v1/rooms', { id: 'r2' });
  await service.call('DELETE', '/api/v1/rooms/r2');
  const page = await history('?limit=2');
  expect(page).toMatchObject({
    rooms: [
      { id: 'r2', reason: 'ended' },
      { id: 'r1', reason: 'ended', participants: [] },
    ],
    cursor: expect.any(String),
  });
  expect(await history(`?limit=2&cursor=${String(page['cursor'])}`)).toEqual({ rooms: [first], cursor: null });
  expect(await history('?room=r2')).toMatchObject({ rooms: [{ id: 'r2' }], cursor: null });
});

it('forgets what ended long ago, and nothing else', async () => {
  const { store, call, webhook } = await startService((await startLivekitStandIn()).url);
  for (const id of ['old', 'open', 'new']) {
    await call('POST', '/api/v1/rooms', { id });
    if (id !== 'open') await call('DELETE', `/api/v1/rooms/${id}`);
  }
  await webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann', room: 'old' }));
  await webhook(later(roomEvent('EV_2', 'room_started', { room: 'new' }), 60));
  const ids = async (): Promise<string[]> => ((await call('GET', '/api/v1/history')).body['rooms'] as { id: string }[]).map(({ id }) => id);
  expect(await store.forgetHistory(0, 0)).toBe(0);
  expect(await ids()).toEqual(['new', 'old']);
  // The newest room and the newest event stay, whatever their age: their keys are not given again.
  const tomorrow = Date.now() + 86_400_000;
  expect(await store.forgetHistory(tomorrow, tomorrow)).toBe(2);
  expect(await store.forgetHistory(tomorrow, tomorrow)).toBe(0);
  expect(await ids()).toEqual(['new']);
  expect([(await call('GET', '/api/v1/rooms/open')).status, (await call('GET', '/api/v1/rooms/old')).status]).toEqual([200, 404]);
  expect((await call('POST', '/api/v1/rooms', { id: 'old' })).status).toBe(201);
  expect((await call('GET', '/api/v1/rooms/old/events')).body).toEqual({ events: [] });
});
