import { expect, it } from 'vitest';
import { carryMoment } from '../../src/backup/moment.ts';
import { JOURNAL_KEY } from '../../src/contract/journal.ts';
import { startRedis } from './redis-processes.ts';

it('what is of the moment is carried over as it is, however many keys there are, and nothing else', async () => {
  const [{ redis: from }, { redis: to }] = await Promise.all([startRedis(), startRedis()]);
  const bytes = Buffer.from([0, 255, 10, 13, 128]);
  const filling = from.pipeline();
  for (let room = 0; room < 2_500; room++) filling.hset(`room_participants:${room}`, 'P_1', bytes);
  await filling.exec();
  await from.hset('nodes', 'ND_1', bytes);
  await from.set('fleet:leaving', 'm1', 'PX', 60_000);
  await from.rpush(JOURNAL_KEY, 'of now');
  await from.set('sip_trunk', 'of now');
  await to.hset('nodes', 'ND_0', 'of then');
  await carryMoment(from, to);
  expect(await to.dbsize()).toBe(2_503);
  expect([await to.hgetallBuffer('nodes'), await to.hgetBuffer('room_participants:2499', 'P_1')]).toEqual([{ ND_1: bytes }, bytes]);
  expect(await to.pttl('fleet:leaving')).toBeGreaterThan(50_000);
  expect([await to.pttl('nodes'), await to.exists('sip_trunk')]).toEqual([-1, 0]);
  expect(await to.lrange(JOURNAL_KEY, 0, -1)).toEqual(['of now']);
});
