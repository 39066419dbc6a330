import { join } from 'node:path';
import { expect, it, onTestFinished } from 'vitest';
import { createDeadlines } from '../../../src/service/calls/deadlines.ts';
import { openStore } from '../../../src/service/store/store.ts';
import { temporaryDirectory } from '../fixtures.ts';

const room = { type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '' } as const;
const people = { caller: 'ann', invitees: ['bob'], mode: 'direct', graceMs: 20_000, busy: 'ring' } as const;
const never = (): Promise<never> => Promise.reject(new Error('not asked'));
const livekit = { createRoom: never, deleteRoom: never, removeParticipant: never, listParticipants: never };

it('waits for the next deadline, also for one that comes up while it waits', async () => {
  const store = await openStore(join(await temporaryDirectory(), 'service.db'));
  const stopping = new AbortController();
  const warnings: unknown[] = [];
  const looking = createDeadlines({ store, livekit, now: Date.now, warn: (error) => void warnings.push(error) }).keepLooking(stopping.signal);
  onTestFinished(async () => {
    stopping.abort();
    await looking;
    await store.close();
  });
  const begunMs = Date.now();
  const ring = (id: string, ringMs: number): Promise<unknown> => store.calls.add({ ...room, id, name: id, createdAtMs: begunMs }, { ...people, ringMs }, null);
  await ring('late', 1_500);
  await ring('soon', 150);
  const ended = async (id: string): Promise<number> => {
    for (;;) {
      const endedAtMs = (await store.calls.find(id))?.call.endedAtMs ?? null;
      if (endedAtMs !== null) return endedAtMs - begunMs;
      await new Promise((resolve) => void setTimeout(resolve, 10));
    }
  };
  // Not before its time; how soon after it a busy machine says is not the test's matter, but within a poll or two.
  expect(await ended('soon')).toBeGreaterThanOrEqual(150);
  expect((await store.calls.find('late'))?.call.state).toBe('ringing');
  const lateMs = await ended('late');
  expect(lateMs).toBeGreaterThanOrEqual(1_500);
  expect(lateMs).toBeLessThan(4_000);
  expect(warnings).toEqual([]);
});
