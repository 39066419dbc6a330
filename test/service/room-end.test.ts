import { expect, it, vi } from 'vitest';
import { createExpiry } from '../../src/service/rooms/expire.ts';
import { livekitStartMs, roomEvent, startLivekitStandIn, startService } from './fixtures.ts';

const DAY_MS = 86_400_000;

it('a room that was ended and is opened anew with a former token is ended again', async () => {
  const livekit = await startLivekitStandIn(undefined, { answers: { DeleteRoom: [200, {}] } });
  const service = await startService(livekit.url);
  const deletions = (): number => livekit.calls.filter(({ method }) => method === 'DeleteRoom').length;
  await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true });
  await service.webhook(roomEvent('EV_1', 'room_started'));
  expect((await service.call('DELETE', '/api/v1/rooms/r1')).status).toBe(204);
  expect(deletions()).toBe(1);
  // What is told late of the room that was ended is no reason.
  await service.webhook(roomEvent('EV_2', 'room_started'));
  await service.webhook(roomEvent('EV_3', 'room_started', { createdAtMs: livekitStartMs + 1000 }));
  await vi.waitFor(() => expect(deletions()).toBe(2));
  expect(await service.call('GET', '/api/v1/rooms/r1')).toMatchObject({ body: { state: 'finished' } });
});

it('a room that LiveKit ended, one that nobody knows, and a new one of the same id are left alone', async () => {
  const livekit = await startLivekitStandIn(undefined, { answers: { DeleteRoom: [200, {}] } });
  const service = await startService(livekit.url);
  await service.webhook(roomEvent('EV_0', 'room_started', { room: 'of-somebody-else' }));
  await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true });
  await service.webhook(roomEvent('EV_1', 'room_finished'));
  await service.webhook(roomEvent('EV_2', 'room_started', { createdAtMs: livekitStartMs + 1000 }));
  await service.call('POST', '/api/v1/rooms', { id: 'r2', start: true });
  await service.call('DELETE', '/api/v1/rooms/r2');
  await service.call('POST', '/api/v1/rooms', { id: 'r2', start: true });
  await service.webhook(roomEvent('EV_3', 'room_started', { room: 'r2', createdAtMs: livekitStartMs + 120_000 }));
  await service.call('GET', '/api/v1/rooms');
  expect(livekit.calls.filter(({ method }) => method === 'DeleteRoom')).toHaveLength(1);
});

it('a room that LiveKit ended, and somebody opened anew with a former token, is ended where that is asked', async () => {
  const livekit = await startLivekitStandIn(undefined, { answers: { DeleteRoom: [200, {}] } });
  const service = await startService(livekit.url);
  await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true });
  await service.webhook(roomEvent('EV_1', 'room_finished'));
  await service.webhook(roomEvent('EV_2', 'room_started', { createdAtMs: livekitStartMs + 1000 }));
  expect((await service.call('DELETE', '/api/v1/rooms/r1')).status).toBe(204);
  expect(livekit.calls.filter(({ method }) => method === 'DeleteRoom')).toMatchObject([{ body: { room: 'r1' } }]);
});

it('rooms that nobody joined within a day are ended, others are not', async () => {
  const livekit = await startLivekitStandIn();
  const service = await startService(livekit.url);
  for (const id of ['joined', 'unused']) await service.call('POST', '/api/v1/rooms', { id });
  await service.call('POST', '/api/v1/rooms/joined/join', { identity: 'ann' });
  let nowMs = Date.now() + DAY_MS - 60_000;
  const expiry = createExpiry({ store: service.store, now: () => nowMs });
  expect(await expiry.look()).toBe(0);
  nowMs += 120_000;
  await service.call('POST', '/api/v1/rooms', { id: 'later' });
  await service.store.addRoom({ id: 'young', name: '', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: nowMs });
  expect([await expiry.look(), await expiry.look()]).toEqual([3, 0]);
  const states = async (): Promise<unknown[]> =>
    Promise.all(['joined', 'unused', 'later', 'young'].map(async (id) => (await service.call('GET', `/api/v1/rooms/${id}`)).body['state']));
  expect(await states()).toEqual(['new', 'finished', 'finished', 'new']);
  const { body } = await service.call('GET', '/api/v1/history?room=unused');
  expect(body['rooms']).toMatchObject([{ id: 'unused', reason: 'unused' }]);
  nowMs += DAY_MS + 1;
  expect(await expiry.look()).toBe(1);
  expect(await states()).toEqual(['new', 'finished', 'finished', 'finished']);
});
