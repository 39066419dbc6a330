import { expect, it, onTestFinished, vi } from 'vitest';
import { openSqlite } from '../../src/service/store/sqlite.ts';
import { createStore, isPostgres, openStore } from '../../src/service/store/store.ts';
import type { Store } from '../../src/service/store/store.ts';
import { createWebhooks } from '../../src/service/webhooks/webhooks.ts';
import type { Webhooks } from '../../src/service/webhooks/webhooks.ts';
import { emptyDatabase, serviceConfig, temporaryDirectory } from './fixtures.ts';
import { startReceiver } from './receiver.ts';

const WAIT = { timeout: 30_000, interval: 50 };

interface Service {
  readonly store: Store;
  readonly webhooks: Webhooks;
}

/** One of several services over one database; SQLite, which no two services share, is told that they do. */
async function openService(database: string): Promise<Service> {
  const store = isPostgres(database) ? await openStore(database) : createStore({ ...openSqlite(database), isShared: true });
  const config = serviceConfig('', 'http://127.0.0.1:1');
  const webhooks = createWebhooks({ config, store, now: Date.now, log: { warn: () => undefined } });
  return { store, webhooks };
}

const endpoint = { description: '', events: ['*'], timeoutMs: 5_000, enabled: true };

async function addRoom({ store }: Service, id: string): Promise<void> {
  const room = await store.addRoom({ id, name: id, type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: Date.now() });
  if (room === null) throw new Error(`${id} is there`);
  await store.finishRoom(room.key, Date.now(), 'ended');
}

it('of two services one sends, each message once and each room’s in order, whoever queued it', async () => {
  const database = await emptyDatabase(await temporaryDirectory());
  const receiver = await startReceiver();
  const services = [await openService(database), await openService(database)] as const;
  onTestFinished(async () => {
    for (const { webhooks, store } of services) {
      await webhooks.stop();
      await store.close();
    }
  });
  await services[0].webhooks.create({ ...endpoint, url: receiver.url });
  await services[1].webhooks.start();
  const rooms = Array.from({ length: 40 }, (_, index) => `r${index}`);
  for (const [index, room] of rooms.entries()) await addRoom(services[index % 2 === 0 ? 0 : 1], room);
  await vi.waitFor(() => expect(receiver.taken()).toHaveLength(2 * rooms.length), WAIT);
  for (const room of rooms) expect(receiver.received.filter((one) => one.room === room).map(({ type }) => type)).toEqual(['room.created', 'room.finished']);
  expect(new Set(receiver.received.map(({ id }) => id)).size).toBe(receiver.received.length);
});

it('when the one that sends stops, the other goes on within seconds', async () => {
  const database = await emptyDatabase(await temporaryDirectory());
  const receiver = await startReceiver();
  const [one, other] = [await openService(database), await openService(database)];
  await one.webhooks.create({ ...endpoint, url: receiver.url });
  await other.webhooks.start();
  await addRoom(one, 'r1');
  await vi.waitFor(() => expect(receiver.taken()).toHaveLength(2), WAIT);
  await one.webhooks.stop();
  await one.store.close();
  await addRoom(other, 'r2');
  onTestFinished(async () => {
    await other.webhooks.stop();
    await other.store.close();
  });
  await vi.waitFor(() => expect(receiver.taken()).toHaveLength(4), { timeout: 10_000, interval: 50 });
});

it('an endpoint that another service adds, changes or removes is known within seconds', async () => {
  const database = await emptyDatabase(await temporaryDirectory());
  const [first, second] = [await startReceiver(), await startReceiver()];
  const [one, other] = [await openService(database), await openService(database)];
  onTestFinished(async () => {
    for (const { webhooks, store } of [one, other]) {
      await webhooks.stop();
      await store.close();
    }
  });
  await one.webhooks.start();
  const { id } = await one.webhooks.create({ ...endpoint, url: first.url });
  await addRoom(other, 'r1');
  await vi.waitFor(() => expect(first.taken()).toHaveLength(2), WAIT);
  // The other has not the endpoint's claim.
  await other.webhooks.update(id, { url: second.url });
  await vi.waitFor(async () => {
    await addRoom(other, `r-${Date.now()}`);
    expect(second.taken().length).toBeGreaterThan(0);
  }, WAIT);
  await other.webhooks.remove(id);
  await addRoom(other, 'r3');
  await addRoom(one, 'r4');
  expect((await one.store.webhooks.queued(id, 0, 1_000)).filter(({ room }) => ['r3', 'r4'].includes(room))).toEqual([]);
  expect(await one.webhooks.list()).toEqual([]);
});
