import { inject } from 'vitest';
import { describe, expect, it, onTestFinished } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import type { Store } from '../../src/service/store/store.ts';
import type { StoredEvent } from '../../src/service/webhooks/event.ts';
import { askPostgres, emptyDatabase } from '../service/fixtures.ts';

const newRoom = (id: string) => ({ id, name: id, type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: 1_000 }) as const;

function eventOf(room: string, event: 'participant_joined' | 'participant_left', person: string): StoredEvent {
  const participant = { identity: person, sid: `PA_${person}`, name: '', joinedAtMs: 2_000, reason: null };
  return {
    id: `EV_${room}_${event}_${person}`,
    event,
    room,
    participant,
    atMs: 2_000,
    roomCreatedAtMs: 1_000,
    receivedAtMs: 2_000,
    isMadeUp: false,
    body: '{}',
  };
}

/** As many services on one new database, opened at once. */
async function openStores(count: number): Promise<{ url: string; stores: Store[] }> {
  const url = await emptyDatabase('');
  const stores = await Promise.all(Array.from({ length: count }, () => openStore(url)));
  onTestFinished(async () => void (await Promise.all(stores.map((store) => store.close()))));
  return { url, stores };
}

describe('several services on one database', () => {
  it('make its schema once, and one alone gets a room’s id', async () => {
    const { stores } = await openStores(3);
    for (let round = 0; round < 10; round++) {
      const made = await Promise.all(stores.flatMap((store) => [store.addRoom(newRoom(`r${round}`)), store.addRoom(newRoom(`r${round}`))]));
      expect(made.filter((room) => room !== null)).toHaveLength(1);
    }
    const [first] = stores;
    expect(await first?.listRooms({ limit: 100, cursor: null })).toHaveLength(10);
  });

  it('make one room of a request that comes to both', async () => {
    const { stores } = await openStores(2);
    const keys = await Promise.all(
      Array.from({ length: 20 }, async (_, index) => {
        const store = stores[index % 2];
        const room = await store?.addRoomOnce(newRoom(`r-${index}`), { key: 'the-key', request: 'the-request' });
        return room === null || room === 'mismatch' ? room : room?.key;
      }),
    );
    expect(new Set(keys).size).toBe(1);
    expect(await stores[0]?.addRoomOnce(newRoom('r-x'), { key: 'the-key', request: 'another' })).toBe('mismatch');
    expect(await stores[1]?.listRooms({ limit: 100, cursor: null })).toHaveLength(1);
  });

  it('take an event once, and count who comes and goes as if there were one', async () => {
    const { url, stores } = await openStores(2);
    const rooms = ['r1', 'r2', 'r3'];
    for (const id of rooms) {
      const key = (await stores[0]?.addRoom(newRoom(id)))?.key ?? 0;
      await stores[0]?.noteMade(key, 1_000);
    }
    const people = Array.from({ length: 40 }, (_, index) => `p${index}`);
    const events = rooms.flatMap((room) =>
      people.flatMap((person, index) => [eventOf(room, 'participant_joined', person), ...(index % 4 === 0 ? [eventOf(room, 'participant_left', person)] : [])]),
    );
    // Each comes to both, in orders of their own.
    const [there, back] = await Promise.all([
      Promise.all(events.map(async (event) => stores[0]?.addEvent(event))),
      Promise.all(events.toReversed().map(async (event) => stores[1]?.addEvent(event))),
    ]);
    expect([...there, ...back].filter((isNew) => isNew === true)).toHaveLength(events.length);
    for (const id of rooms) {
      expect(await stores[1]?.findRoom(id)).toMatchObject({ state: 'live', numParticipants: 30 });
      expect(await stores[0]?.eventsOf(id)).toHaveLength(50);
    }
    expect(await askPostgres(url, 'SELECT count(*)::int AS count FROM participants WHERE left_at IS NULL')).toEqual([{ count: 90 }]);
  });
});

it('a database that a newer program wrote is refused', async () => {
  const { url } = await openStores(1);
  await askPostgres(url, 'UPDATE schema_version SET version = 99');
  await expect(openStore(url)).rejects.toThrow('schema 99');
});

it('is served with no right but to the rows, once its tables are there', async () => {
  const { url } = await openStores(1);
  const schema = new URL(url).searchParams.get('options')?.replace('-c search_path=', '') ?? '';
  const role = `role_${schema}`;
  const grants = `CREATE ROLE ${role} LOGIN; GRANT USAGE ON SCHEMA ${schema} TO ${role}; GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA ${schema} TO ${role}`;
  await askPostgres(inject('postgresUrl') ?? '', grants);
  onTestFinished(async () => void (await askPostgres(inject('postgresUrl') ?? '', `DROP OWNED BY ${role}; DROP ROLE ${role}`)));
  const limited = new URL(url);
  limited.username = role;
  const store = await openStore(limited.href);
  expect(await store.addRoom(newRoom('r1'))).toMatchObject({ id: 'r1' });
  await store.checkWritable();
  await store.close();
});
