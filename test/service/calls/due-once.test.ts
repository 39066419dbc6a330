import { expect, it } from 'vitest';
import { openStore } from '../../../src/service/store/store.ts';
import { emptyDatabase, temporaryDirectory } from '../fixtures.ts';

const START_MS = 1_000_000;

it('what is due comes once, however many ask, and after a restart', async () => {
  const path = await emptyDatabase(await temporaryDirectory());
  const first = await openStore(path);
  const ids = Array.from({ length: 250 }, (_, index) => `c${index}`);
  const people = { caller: 'ann', invitees: ['bob'], mode: 'direct', ringMs: 60_000, graceMs: 20_000, busy: 'ring' } as const;
  const room = { type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: START_MS } as const;
  await Promise.all(ids.map((id) => first.calls.add({ ...room, id, name: id }, people, null)));
  await first.close();
  const store = await openStore(path);
  expect(await store.calls.nextDeadline()).toBe(START_MS + 60_000);
  const pass = async (nowMs: number): Promise<void> => {
    for (let afterKey: number | null = 0; afterKey !== null;) ({ lastKey: afterKey } = await store.calls.takeDue(nowMs, afterKey));
  };
  await pass(START_MS + 59_999);
  expect((await store.calls.list({ limit: 300, before: null, state: 'ringing', identity: null })).length).toBe(250);
  await Promise.all([pass(START_MS + 60_000), pass(START_MS + 60_000)]);
  await pass(START_MS + 90_000);
  const ended = await store.calls.list({ limit: 300, before: null, state: 'ended', identity: 'bob' });
  expect(ended.filter(({ record }) => record.call.reason === 'missed' && record.call.endedAtMs === START_MS + 60_000)).toHaveLength(250);
  expect(await store.calls.nextDeadline()).toBeNull();
  // Nobody rings any more, and history forgets it with its room; the newest room stays.
  expect(await store.calls.liveOf('bob')).toEqual([]);
  for (let forgotten = 1; forgotten > 0;) forgotten = await store.forgetHistory(START_MS + 100_000, START_MS + 100_000);
  expect(await store.calls.list({ limit: 300, before: null, state: null, identity: 'bob' })).toHaveLength(1);
  await store.close();
});
