import * as fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import type { Store } from '../../src/service/store/store.ts';
import type { StoredEvent } from '../../src/service/webhooks/event.ts';
import { emptyDatabase, isOverPostgres, rowsOf, temporaryDirectory } from './fixtures.ts';

/** LiveKit's clock when it made the room, ms. */
const madeAtMs = 1_700_000_000_000;

/** A room's whole life as LiveKit tells of it: people come and go, and some are in when it ends. */
function lifeOf(room: string, people: ReadonlyArray<{ stays: boolean; saysWhenJoined: boolean }>): StoredEvent[] {
  const events = people.flatMap(({ stays, saysWhenJoined }, index) => {
    const who = { identity: `user-${index}`, sid: `PA_${index}`, name: `User ${index}` };
    const joinedAtMs = madeAtMs + (index + 1) * 1_000;
    const leftAtMs = stays ? madeAtMs + 60_000 : joinedAtMs + 500 * index;
    return [
      { event: 'participant_joined', atMs: joinedAtMs, participant: { ...who, joinedAtMs, reason: null } },
      {
        event: 'participant_left',
        atMs: leftAtMs,
        participant: { ...who, joinedAtMs: saysWhenJoined ? joinedAtMs : null, reason: stays ? 'ROOM_CLOSED' : 'CLIENT_INITIATED' },
      },
    ];
  });
  const all = [
    { event: 'room_started', atMs: madeAtMs, participant: null },
    ...events,
    { event: 'something_new', atMs: madeAtMs + 30_000, participant: null },
    { event: 'room_finished', atMs: madeAtMs + 60_000, participant: null },
  ];
  return all.map((one, index) => ({ ...one, id: `EV_${room}_${index}`, room, roomCreatedAtMs: madeAtMs, receivedAtMs: 1, isMadeUp: false, body: '{"a":1}' }));
}

/** A store whose outbox can be looked at; one endpoint hears of everything. */
async function openWithEndpoint(): Promise<{ store: Store; told: (room: string) => Promise<string[]> }> {
  const database = await emptyDatabase(await temporaryDirectory());
  const store = await openStore(database);
  onTestFinished(() => store.close());
  const fixed = { description: '', secret: 'whsec_', former: null, timeoutMs: 1_000, isEnabled: true, disabledReason: null, createdAtMs: 0 };
  await store.webhooks.add({ ...fixed, id: 'we_1', url: 'http://127.0.0.1:1/', events: '*' });
  return {
    store,
    told: async (room) =>
      (await rowsOf({ database }, `SELECT type, body FROM outbox WHERE room = '${room}' ORDER BY seq`)).map(({ type, body }) =>
        [type, sidOf(body)].filter(Boolean).join(' '),
      ),
  };
}

function sidOf(body: unknown): string | undefined {
  return (JSON.parse(String(body)) as { data: { sid?: string } }).data.sid;
}

/** What is stored of a room after these events of it came in this order. */
async function stateAfter(store: Store, room: string, events: readonly StoredEvent[]): Promise<unknown> {
  await store.addRoom({ id: room, name: 'One', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: madeAtMs });
  await Promise.all(events.map((event) => store.addEvent(event)));
  const { key: _key, id: _id, ...record } = (await store.findRoom(room)) ?? { key: 0, id: '' };
  const past = (await store.history({ limit: 10, before: null, room })).map(({ view }) => ({ ...view, id: '' }));
  return { record, past };
}

it('in whatever order a room’s events come, and however often: the same is stored of it, and the same is told', async () => {
  const person = fc.record({ stays: fc.boolean(), saysWhenJoined: fc.boolean() });
  // Every event once, some of them again, all in any order.
  const cases = fc.array(person, { maxLength: 3 }).chain((people) => {
    const indexes = lifeOf('', people).map((_event, index) => index);
    const order = fc.subarray(indexes).chain((again) => {
      const all = [...indexes, ...again];
      return fc.shuffledSubarray(all, { minLength: all.length });
    });
    return fc.tuple(fc.constant(people), order);
  });
  const { store, told } = await openWithEndpoint();
  let count = 0;
  await fc.assert(
    fc.asyncProperty(cases, async ([people, order]) => {
      const [one, other] = [`r-${count++}`, `r-${count++}`];
      const events = lifeOf(other, people);
      const expected = await stateAfter(store, one, lifeOf(one, people));
      const actual = await stateAfter(
        store,
        other,
        order.flatMap((index) => events[index] ?? []),
      );
      expect(actual).toEqual(expected);
      const [toldInOrder, toldAsTheyCame] = [await told(one), await told(other)];
      // What ended before it was told that it had started has not started.
      const isStartTold = toldAsTheyCame.includes('room.started');
      expect(toldAsTheyCame.toSorted()).toEqual(toldInOrder.filter((line) => isStartTold || line !== 'room.started').toSorted());
      for (const line of toldInOrder.filter((each) => each.startsWith('participant.joined')))
        expect(toldAsTheyCame.indexOf(line)).toBeLessThan(toldAsTheyCame.indexOf(line.replace('joined', 'left')));
    }),
    { numRuns: isOverPostgres() ? 15 : 100 },
  );
}, 60_000);
