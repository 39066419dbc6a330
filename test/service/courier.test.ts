import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { setTimeout } from 'node:timers/promises';
import { expect, it, onTestFinished, vi } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import { createCourier } from '../../src/service/webhooks/courier.ts';
import type { Message } from '../../src/service/webhooks/send.ts';
import { temporaryDirectory } from './fixtures.ts';

const ROOMS = 40;
const OF_EACH = 70;

/** A courier over a real queue; its endpoint takes all but what is of rooms called bad…. */
async function start(isHeld: (() => boolean) | null = null) {
  const path = join(await temporaryDirectory(), 'service.db');
  const store = await openStore(path);
  onTestFinished(() => store.close());
  const db = new DatabaseSync(path);
  onTestFinished(() => db.close());
  const insert = db.prepare(`INSERT INTO outbox (endpoint, room, id, type, body) VALUES ('we_1', ?, ?, 'room.created', '{}')`);
  const queue = (messages: ReadonlyArray<readonly [room: string, index: number]>): void => {
    db.exec('BEGIN');
    for (const [room, index] of messages) insert.run(room, `${room}_${index}`);
    db.exec('COMMIT');
  };
  const sent: string[] = [];
  const sender = {
    send: async ({ id }: Message) => {
      sent.push(id);
      const isTaken = !id.startsWith('bad');
      return { status: isTaken ? 200 : 400, error: isTaken ? null : 'HTTP 400', retryAfterMs: isTaken ? null : 3_600_000 };
    },
    close: () => undefined,
  };
  const courier = createCourier({
    endpoint: {
      id: 'we_1',
      url: 'http://127.0.0.1:1',
      description: '',
      events: '*',
      secret: '',
      former: null,
      timeoutMs: 1_000,
      isEnabled: true,
      disabledReason: null,
      createdAtMs: 0,
    },
    state: { failingSinceMs: null, error: null },
    sender,
    store: store.webhooks,
    isHeld,
    now: Date.now,
    random: () => 0,
    counters: { delivered: 0, failed: 0, dead: 0 },
    onGone: () => undefined,
    onLost: () => undefined,
    onError: (error) => {
      throw error;
    },
  });
  onTestFinished(() => courier.stop());
  return { courier, sent, queue };
}

it('rooms whose first message is not taken hold up no other room, however much waits behind it', async () => {
  const { courier, sent, queue } = await start();
  // One that is taken after some that are not: the endpoint itself is well.
  queue(range(ROOMS).flatMap((room) => [[`bad${room}`, 0], ...(room % 4 === 3 ? [[`fine${room}`, 0] as const] : [])] as const));
  courier.wake();
  await vi.waitFor(() => expect(sent.filter((id) => id.startsWith('bad'))).toHaveLength(ROOMS));
  queue(range(OF_EACH).flatMap((index) => range(ROOMS).map((room) => [`bad${room}`, index + 1] as const)));
  queue(range(OF_EACH).map((index) => ['good', index]));
  courier.wake();
  await vi.waitFor(() => expect(sent.filter((id) => id.startsWith('good'))).toHaveLength(OF_EACH), { timeout: 5_000, interval: 20 });
  expect(sent.filter((id) => id.startsWith('good'))).toEqual(range(OF_EACH).map((index) => `good_${index}`));
  // What is behind the first of a room waits for that.
  expect(sent.filter((id) => id.startsWith('bad'))).toHaveLength(ROOMS);
});

it('what was read is sent once the endpoint is its own again, however much that is', async () => {
  let isHeld = false;
  const { courier, sent, queue } = await start(() => isHeld);
  queue(range(2_500).map((room) => [`fine${room}`, 0]));
  courier.wake();
  await setTimeout(300);
  expect(sent).toEqual([]);
  isHeld = true;
  courier.wake();
  await vi.waitFor(() => expect(sent).toHaveLength(2_500), { timeout: 5_000, interval: 20 });
});

function range(count: number): number[] {
  return Array.from({ length: count }, (_, index) => index);
}
