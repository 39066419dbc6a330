import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import * as fc from 'fast-check';
import { expect, it, onTestFinished } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import type { Store } from '../../src/service/store/store.ts';
import type { StoredEvent } from '../../src/service/webhooks/event.ts';
import { temporaryDirectory } from './fixtures.ts';

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
async function openWithEndpoint(): Promise<{ store: Store; told: (room: string) => string[] }> {
  const path = join(await temporaryDirectory(), 'service.db');
  const store = await openStore(path);
  const db = new DatabaseSync(path);
  db.exec(`INSERT INTO webhook_endpoints (id, url, description, events, secret, timeout_ms, is_enabled, created_at)
    VALUES ('we_1', 'http://127.0.0.1:1/', '', '*', 'whsec_', 1000, 1, 0)`);
  onTestFinished(async () => {
    db.close();
    await store.close();
  });
  const rows = db.prepare('SELECT type, body FROM outbox WHERE room = ? ORDER BY seq');
  return { store, told: (room) => rows.all(room).map(({ type, body }) => [type, sidOf(body)].filter(Boolean).join(' ')) };
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
      const [toldInOrder, toldAsTheyCame] = [told(one), told(other)];
      // What ended before it was told that it had started has not started.
      const isStartTold = toldAsTheyCame.includes('room.started');
      expect(toldAsTheyCame.toSorted()).toEqual(toldInOrder.filter((line) => isStartTold || line !== 'room.started').toSorted());
      for (const line of toldInOrder.filter((each) => each.startsWith('participant.joined')))
        expect(toldAsTheyCame.indexOf(line)).toBeLessThan(toldAsTheyCame.indexOf(line.replace('joined', 'left')));
    }),
    { numRuns: 100 },
  );
}, 60_000);
