import { WebhookReceiver } from 'livekit-server-sdk';
import { expect, test } from 'vitest';
import { roomApi } from '../../src/meeting/api.ts';
import { explain } from '../../src/meeting/explain.ts';
import { StepError } from '../../src/meeting/step.ts';
import type { CauseCode } from '../../src/kernel/messages/en.ts';
import { closedAddress, meetingConfigFor, routes, secrets, serve } from './meeting-process.ts';

// Servers stand in for the service, LiveKit and the agent.
async function causeOf(likely: CauseCode, apiUrl: string, webhooks = { agentUrl: 'http://127.0.0.1:1', isElsewhere: false }): Promise<CauseCode> {
  const config = { ...meetingConfigFor(apiUrl), webhooks };
  return (await explain(new StepError(likely, 'first finding'), { config, api: roomApi(config), ticket: null })).likely;
}

const LIVEKIT_DOWN = [503, { code: 'LIVEKIT_UNAVAILABLE' }] as const;

test.each([
  { name: 'LiveKit is down for all', create: [503, { code: 'unavailable', msg: 'no' }] as const, rooms: LIVEKIT_DOWN, cause: 'LIVEKIT_UNAVAILABLE' },
  { name: 'LiveKit refuses the keys of .env', create: [401, { code: 'unauthenticated', msg: 'no' }] as const, rooms: LIVEKIT_DOWN, cause: 'KEYS_DIFFER' },
  { name: 'LiveKit takes the keys of .env but not the service', create: [200, {}] as const, rooms: LIVEKIT_DOWN, cause: 'KEYS_DIFFER' },
  { name: 'LiveKit has come up meanwhile', create: [200, {}] as const, rooms: [201, { id: 'r2' }] as const, cause: 'LIVEKIT_UNAVAILABLE' },
])('$name', async ({ create, rooms, cause }) => {
  const apiUrl = await serve(routes({ CreateRoom: create, DeleteRoom: [200, {}], 'POST /api/v1/rooms': rooms }));
  expect(await causeOf('LIVEKIT_UNAVAILABLE', apiUrl)).toBe(cause);
});

test('webhooks: the agent, then its addresses, then the signature', async () => {
  const agentUrl = await serve(routes({ '/healthz': [200, {}] }));
  const asked: Array<{ body: string; authorization: string }> = [];
  let status = 400;
  const apiUrl = await serve(async (request, response) => {
    const chunks = await request.toArray();
    asked.push({ body: Buffer.concat(chunks).toString(), authorization: request.headers.authorization ?? '' });
    response.writeHead(status).end();
  });
  const nobody = `http://${await closedAddress()}`;
  expect(await causeOf('WEBHOOKS_MISSING', apiUrl, { agentUrl: nobody, isElsewhere: true })).toBe('AGENT_STOPPED');
  expect(await causeOf('WEBHOOKS_MISSING', apiUrl, { agentUrl, isElsewhere: true })).toBe('WEBHOOKS_ELSEWHERE');
  expect(asked).toEqual([]);
  expect(await causeOf('WEBHOOKS_MISSING', apiUrl, { agentUrl, isElsewhere: false })).toBe('WEBHOOKS_MISSING');
  status = 401;
  expect(await causeOf('WEBHOOKS_MISSING', apiUrl, { agentUrl, isElsewhere: false })).toBe('WEBHOOKS_REFUSED');
  // A service with the same keys takes the signature.
  const receiver = new WebhookReceiver('devkey', secrets.apiSecret);
  await expect(receiver.receive(asked[0]?.body ?? '', asked[0]?.authorization)).resolves.toBeDefined();
});
