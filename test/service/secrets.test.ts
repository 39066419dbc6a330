import { expect, it } from 'vitest';
import { operations } from '../../src/contract/api.ts';
import { apiToken, keys, roomEvent, sign, startLivekitStandIn, startService, storedText } from './fixtures.ts';

it('after a session neither the log nor the database holds a secret', async () => {
  const livekit = await startLivekitStandIn(undefined, { answers: { DeleteRoom: [200, {}], ListParticipants: [500, { code: 'internal', msg: 'bad' }] } });
  const service = await startService(livekit.url, { logLevel: 'debug' });
  const made = await service.call('POST', '/api/v1/tokens', { name: 'app', scopes: ['*'] });
  const serverToken = String(made.body['token']);
  const authorization = `Bearer ${serverToken}`;
  await service.call('POST', '/api/v1/rooms', { id: 'r1' }, { authorization });
  const joined = await service.call('POST', '/api/v1/rooms/r1/join', { identity: 'ann' }, { authorization });
  const joinToken = String(joined.body['token']);
  await service.call('GET', `/api/v1/rooms/r1?access_token=${joinToken}`);
  await service.call('GET', '/api/v1/rooms/r1', undefined, { authorization: `Bearer ${joinToken}` });
  for (const event of ['room_started', 'participant_joined', 'room_finished']) await service.webhook(roomEvent(`EV_${event}`, event, { participant: 'ann' }));
  // The same names with escapes, and in protobuf's other spelling.
  for (const [index, name] of ['\\u0074urnPassword', 'turn_password'].entries()) {
    const text = JSON.stringify(roomEvent(`EV_9${index}`, 'room_started')).replace('turnPassword', name);
    expect((await service.post(text, await sign(text))).status).toBe(200);
  }
  const wrongly = await sign('another body');
  await service.post('{}', wrongly);
  for (const { method, path, body } of operations) await service.call(method, `/api/v1${path.replaceAll(/:\w+/g, 'r1')}`, body === undefined ? undefined : {});
  const kept = await storedText(service);
  const all = [kept, service.logs.join('')];
  // It looked where there is something to find.
  expect([kept.includes('EV_room_started'), service.logs.join('').includes('"path":"/api/v1/rooms/r1"')]).toEqual([true, true]);
  const secrets = { 'TURN-PASSWORD': 'TURN-PASSWORD', ...keys, apiToken, serverToken, joinToken, wrongly };
  for (const [name, secret] of Object.entries(secrets)) expect([name, all.some((text) => text.includes(secret))]).toEqual([name, false]);
});
