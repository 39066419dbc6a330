import { join } from 'node:path';
import { Room } from 'livekit-server-sdk';
import { expect, onTestFinished, test } from 'vitest';
import { doubtWhileSpeechless } from '../../src/agent/webhook-relay/doubt.ts';
import { startWebhookRelay } from '../../src/agent/webhook-relay/relay.ts';
import { openWebhookStore } from '../../src/agent/webhook-relay/store.ts';
import { signWebhook } from '../../src/clients/livekit-token.ts';
import { silentLog, startReceiver, temporaryDirectory, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

const KEY = { apiKey: 'APIkey', secret: 'a-secret-of-at-least-thirty-two-characters' };

/** A machine with the node ND_own, whose agent has just lost its Redis. */
async function cutOff() {
  const redis = (await startRedis()).connect();
  const { url, received } = await startReceiver(() => 200);
  const store = openWebhookStore(join(await temporaryDirectory(), 'webhooks.db'));
  const config = { enabled: true, urls: [url], keys: { [KEY.apiKey]: KEY.secret }, signingKey: KEY.apiKey };
  const relay = startWebhookRelay({ config, store, log: silentLog, nowMs: () => Date.now() });
  onTestFinished(() => relay.stop());
  const state = { speechlessMs: Infinity, isAlone: true, isWithMost: false, nowMs: 0, nodeId: 'ND_own' };
  const stop = doubtWhileSpeechless({
    redis,
    relay,
    seen: { speechlessMs: () => state.speechlessMs, isAlone: () => state.isAlone, isWithMost: () => state.isWithMost },
    nodeId: () => state.nodeId,
    log: silentLog,
    monotonicMs: () => state.nowMs,
  });
  onTestFinished(stop);
  const say = (id: string, event: string, name: string, sid: string): number => {
    const body = Buffer.from(JSON.stringify({ event, id, room: { name, sid } }));
    return relay.receive(body, signWebhook(body, { ...KEY, nowMs: Date.now() }));
  };
  const put = async (name: string, sid: string, node: string): Promise<void> => {
    await redis.hset('rooms', name, Buffer.from(new Room({ sid, name, creationTime: 1_700_000_000n }).toBinary()));
    await redis.hset('room_node_map', name, node);
  };
  const told = (): string[] => received.map(({ body }) => (JSON.parse(body) as { id: string }).id).toSorted();
  return { redis, state, say, put, told };
}

test('the end of a room that goes on elsewhere is never told; all else is, once Redis answers', async () => {
  const { state, say, put, told } = await cutOff();
  await put('living', 'RM_1', 'ND_other');
  await put('own', 'RM_2', 'ND_own');
  await put('anew', 'RM_new', 'ND_other');
  for (const [id, name, sid] of [
    ['EV_living', 'living', 'RM_1'],
    ['EV_own', 'own', 'RM_2'],
    ['EV_anew', 'anew', 'RM_former'],
    ['EV_gone', 'gone', 'RM_4'],
  ] as const)
    expect(say(id, 'room_finished', name, sid)).toBe(200);
  say('EV_left', 'participant_left', 'living', 'RM_1');
  // However long it lasts.
  for (let step = 0; step < 3; step++) {
    state.nowMs += 600_000;
    await new Promise((resolve) => setTimeout(resolve, 300));
  }
  expect(told()).toEqual([]);
  Object.assign(state, { speechlessMs: 100, isWithMost: true });
  await until(() => expect(told()).toEqual(['EV_anew', 'EV_gone', 'EV_left', 'EV_own']));
  say('EV_next', 'room_started', 'living', 'RM_1');
  await until(() => expect(told()).toContain('EV_next'));
  expect(told()).not.toContain('EV_living');
});

test('while its own node, which was given up, still lives, nothing is told', async () => {
  const { redis, state, say, put, told } = await cutOff();
  await put('living', 'RM_1', 'ND_other');
  await redis.set('fleet:fenced:ND_own', 'm3');
  Object.assign(state, { speechlessMs: 100, isWithMost: true });
  await new Promise((resolve) => setTimeout(resolve, 600));
  say('EV_living', 'room_finished', 'living', 'RM_1');
  say('EV_own', 'room_finished', 'own', 'RM_2');
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(told()).toEqual([]);
  state.nodeId = 'ND_new';
  await until(() => expect(told()).toEqual(['EV_own']));
});

test('a machine that is alone with its own Redis tells nothing, nor when it is back, until it speaks to that of the others', async () => {
  const { state, say, put, told } = await cutOff();
  await put('living', 'RM_1', 'ND_own');
  Object.assign(state, { speechlessMs: 100 });
  await new Promise((resolve) => setTimeout(resolve, 600));
  say('EV_living', 'room_finished', 'living', 'RM_1');
  state.isAlone = false;
  state.nowMs = 200_000;
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(told()).toEqual([]);
  // The same connection, to the new primary.
  await put('living', 'RM_1', 'ND_other');
  state.isWithMost = true;
  say('EV_next', 'room_started', 'living', 'RM_1');
  await until(() => expect(told()).toEqual(['EV_next']));
});

test('where the other machine is lost, and most are heard, all is told', async () => {
  const { state, say, told } = await cutOff();
  Object.assign(state, { speechlessMs: 100, isWithMost: true });
  say('EV_1', 'room_finished', 'r', 'RM_1');
  await until(() => expect(told()).toEqual(['EV_1']));
});

test('where Redis is away from all, webhooks wait five minutes', async () => {
  const { state, say, told } = await cutOff();
  state.isAlone = false;
  say('EV_1', 'room_finished', 'r', 'RM_1');
  await new Promise((resolve) => setTimeout(resolve, 600));
  expect(told()).toEqual([]);
  state.nowMs = 5 * 60_000;
  await until(() => expect(told()).toEqual(['EV_1']));
});
