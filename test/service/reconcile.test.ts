import { expect, it } from 'vitest';
import type { LivekitParticipant, LivekitRoom } from '../../src/clients/livekit-rooms.ts';
import { createReconciler } from '../../src/service/rooms/reconcile.ts';
import type { Reconciler } from '../../src/service/rooms/reconcile.ts';
import { livekitStartMs, roomEvent, startLivekitStandIn, startService } from './fixtures.ts';

const person = (sid: string, identity: string): LivekitParticipant => ({
  sid,
  identity,
  name: '',
  metadata: '',
  state: 'ACTIVE',
  joinedAt: 1_700_000_000,
  tracks: [],
});

async function setUp() {
  const service = await startService((await startLivekitStandIn()).url);
  await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true });
  const said: { rooms: LivekitRoom[] | null; people: LivekitParticipant[] } = { rooms: [], people: [] };
  const has = (people: LivekitParticipant[]): void => {
    said.people = people;
    said.rooms = [{ name: 'r1', createdAtMs: livekitStartMs, numParticipants: people.length }];
  };
  const reconcilerAt = (now: () => number): Reconciler =>
    createReconciler({
      livekit: { listRooms: async () => said.rooms ?? Promise.reject(new Error('away')), listParticipants: async () => said.people },
      store: service.store,
      now,
    });
  const reconciler = reconcilerAt(Date.now);
  const shown = async (): Promise<unknown> => {
    const { state, numParticipants } = (await service.call('GET', '/api/v1/rooms/r1')).body;
    return [state, numParticipants];
  };
  return { service, reconciler, reconcilerAt, said, has, shown };
}

it('a room that LiveKit has no more at two looks is finished, and marked so', async () => {
  const { service, reconciler, said, shown } = await setUp();
  await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
  said.rooms = [];
  expect(await reconciler.look()).toBe(0);
  expect(await shown()).toEqual(['live', 1]);
  expect(await reconciler.look()).toBe(1);
  expect(await shown()).toEqual(['finished', 0]);
  expect(await reconciler.look()).toBe(0);
  const { events } = (await service.call('GET', '/api/v1/rooms/r1/events')).body;
  expect(events).toMatchObject([
    { event: 'participant_joined', isMadeUp: false },
    { event: 'room_finished', isMadeUp: true },
  ]);
  // What comes after all changes nothing more.
  await service.webhook(roomEvent('EV_2', 'participant_left', { participant: 'ann' }));
  await service.webhook(roomEvent('EV_3', 'room_finished'));
  expect(await shown()).toEqual(['finished', 0]);
});

it('what two services make up of the same room, each in its own second, is one', async () => {
  const { service, reconciler, reconcilerAt, has } = await setUp();
  const other = reconcilerAt(() => Date.now() + 2_000);
  has([person('PA_ann', 'ann')]);
  for (const one of [reconciler, other, reconciler, other]) await one.look();
  const { events } = (await service.call('GET', '/api/v1/rooms/r1/events')).body;
  expect(events).toMatchObject([{ event: 'participant_joined', isMadeUp: true }]);
  expect(events).toHaveLength(1);
});

it('those who came and went unheard are counted, and once', async () => {
  const { service, reconciler, has, shown } = await setUp();
  await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
  await service.webhook(roomEvent('EV_2', 'participant_joined', { participant: 'bob' }));
  has([person('PA_cid', 'cid')]);
  expect([await reconciler.look(), await reconciler.look(), await reconciler.look()]).toEqual([0, 3, 0]);
  expect(await shown()).toEqual(['live', 1]);
  await service.webhook(roomEvent('EV_3', 'participant_joined', { participant: 'cid' }));
  await service.webhook(roomEvent('EV_4', 'participant_left', { participant: 'ann' }));
  expect(await shown()).toEqual(['live', 1]);
  has([]);
  expect([await reconciler.look(), await reconciler.look()]).toEqual([0, 1]);
  expect(await shown()).toEqual(['live', 0]);
});

it('what is made good between two looks is left alone, and nothing is made up while LiveKit is away', async () => {
  const { service, reconciler, said, has, shown } = await setUp();
  has([person('PA_ann', 'ann')]);
  expect(await reconciler.look()).toBe(0);
  await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
  expect(await reconciler.look()).toBe(0);
  said.rooms = null;
  for (let looks = 0; looks < 2; looks++) await expect(reconciler.look()).rejects.toThrow('away');
  expect(await shown()).toEqual(['live', 1]);
  // Rooms that LiveKit was never told of are not missed.
  await service.call('POST', '/api/v1/rooms', { id: 'r2' });
  has([person('PA_ann', 'ann')]);
  expect([await reconciler.look(), await reconciler.look()]).toEqual([0, 0]);
  expect((await service.call('GET', '/api/v1/rooms/r2')).body).toMatchObject({ state: 'new' });
});
