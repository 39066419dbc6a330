import { once } from 'node:events';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as sleep } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createHttpApi } from '../../src/agent/http-api.ts';
import { signAccessToken } from '../../src/clients/livekit-token.ts';
import { WAIT } from '../../src/contract/gateway-routes.ts';
import type { Wanted } from '../../src/contract/gateway-routes.ts';
import { ROOM_NODE_KEY } from '../../src/contract/livekit-records.ts';
import { freePorts } from '../e2e/installation.ts';
import { serve, startGateway } from './caddy-fixture.ts';
import { silentLog } from './fixtures.ts';
import { startRedis } from './redis.ts';

/** Stands for a LiveKit: says its name, the path, the address that it takes for the client's and what it was sent, and takes WebSockets. */
function node(name: string): Server {
  const server = createServer({ maxHeaderSize: 1024 * 1024 }, async (request, response) => {
    const { url, headers } = request;
    response.end(`${name} ${url?.split('?')[0]}${String(headers['cf-connecting-ip'] ?? '')}${await text(request)}`);
  });
  server.on('upgrade', (_request, socket) => socket.end(`HTTP/1.1 101 Switching Protocols\r\nupgrade: websocket\r\nconnection: upgrade\r\n\r\n${name}`));
  return server;
}

function tokenFor(room: string, metadata = ''): string {
  return signAccessToken({ roomJoin: true, room }, { apiKey: 'k', secret: 's', nowMs: Date.now(), ttlSeconds: 60, metadata });
}

const OWN = '/n/m127-0-0-1';

async function startFleet(): Promise<{ url: string; port: number; agent: Server; agentUrl: string; freezeRedis: () => void }> {
  const server = await startRedis();
  const redis = server.connect();
  await redis.hset(ROOM_NODE_KEY, { there: 'ND_B', nobodys: 'ND_X', waiting: 'ND_W', ended: 'ND_E' });
  const [nobody = 0] = await freePorts(1);
  const wayOf = new Map([
    ['ND_B', `127.0.0.1:${await serve(node('B'))}`],
    ['ND_W', WAIT],
    ['ND_E', `127.0.0.1:${nobody}`],
    ['m3', `127.0.0.1:${await serve(node('C'))}`],
  ]);
  const wayTo = ({ nodeId, machine }: Wanted): string | null => wayOf.get(nodeId ?? '') ?? wayOf.get(machine ?? '') ?? null;
  const agent = createHttpApi({ machine: 'm1', redis, log: silentLog, isLivekitServing: null, isInStep: null, wayTo, relay: null });
  const agentPort = await serve(agent);
  const { port } = await startGateway({ AGENT_PORT: agentPort, LIVEKIT_HTTP_PORT: await serve(node('A')) }, undefined, 'gateway');
  return { url: `http://127.0.0.1:${port}`, port, agent, agentUrl: `http://127.0.0.1:${agentPort}`, freezeRedis: server.freeze };
}

/** What a client that sends a body gets back. */
async function offer(url: string): Promise<string> {
  const headers = { authorization: `Bearer ${tokenFor('there')}` };
  return (await fetch(`${url}${OWN}/whip/v1`, { method: 'POST', headers, body: ' offer' })).text();
}

test('a client is led to the node that its room is on, by whatever path it comes', async () => {
  const { url, port } = await startFleet();
  const get = async (path: string, token: string): Promise<string> => {
    const byQuery = await (await fetch(`${url}${path}?access_token=${token}`)).text();
    expect(await (await fetch(`${url}${path}`, { headers: { authorization: `Bearer ${token}` } })).text()).toBe(byQuery);
    return byQuery;
  };
  for (const path of ['/rtc', '/rtc/v1', '/rtc/validate', '/rtc/v1/validate']) {
    for (const prefix of ['', OWN, '/n/gone']) expect(await get(`${prefix}${path}`, tokenFor('there'))).toBe(`B ${path}`);
    for (const token of [tokenFor('new'), tokenFor('nobodys'), 'x.y.z', '']) {
      for (const prefix of ['', OWN, '/n/gone']) expect(await get(`${prefix}${path}`, token)).toBe(`A ${path}`);
      expect(await get(`/n/m3${path}`, token)).toBe(`C ${path}`);
    }
  }
  const long = 'x'.repeat(100_000);
  for (const letter of ['x', '会']) {
    const token = tokenFor('there', letter.repeat(16_384));
    expect(await get('/rtc', token)).toBe('B /rtc');
    expect(await (await fetch(`${url}/rtc?access_token=${token}&join_request=${long}`)).text()).toBe('B /rtc');
  }
  const two = await fetch(`${url}/rtc?access_token=${tokenFor('new')}`, { headers: { authorization: `Bearer ${tokenFor('there')}` } });
  expect(await two.text()).toBe('B /rtc');
  const spoofed = { authorization: `Bearer ${tokenFor('there')}`, 'cf-connecting-ip': '203.0.113.9' };
  expect(await (await fetch(`${url}/rtc`, { headers: spoofed })).text()).toBe('B /rtc');
  expect(await get(`${OWN}/whip/v1`, tokenFor('there'))).toBe('B /whip/v1');
  const socket = connect({ host: '127.0.0.1', port }, () =>
    socket.write(
      `GET ${OWN}/rtc?access_token=${tokenFor('there')} HTTP/1.1\r\nhost: localhost\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n`,
    ),
  );
  expect(await text(socket)).toMatch(/^HTTP\/1.1 101 [\s\S]*\r\n\r\nB$/);
});

test('a client whose node may come back is asked to wait, and one whose node refuses is told so', async () => {
  const { url } = await startFleet();
  const wait = await fetch(`${url}${OWN}/rtc/validate?access_token=${tokenFor('waiting')}`);
  expect([wait.status, wait.headers.get('retry-after'), wait.headers.get('access-control-allow-origin')]).toEqual([503, '1', '*']);
  expect((await fetch(`${url}${OWN}/rtc?access_token=${tokenFor('ended')}`)).status).toBe(502);
});

test('a client cannot say itself where it is led', async () => {
  const { url } = await startFleet();
  const headers = { 'x-upstream': '127.0.0.1:1', 'x-path-machine': 'm3', 'x-access-token': tokenFor('there') };
  expect(await (await fetch(`${url}${OWN}/rtc`, { headers })).text()).toBe('A /rtc');
});

test('a Redis that says nothing is not waited for', async () => {
  const { agentUrl, freezeRedis } = await startFleet();
  const ask = async (): Promise<[number, string | null]> => {
    const { status, headers } = await fetch(`${agentUrl}/v1/signalling`, { headers: { 'x-access-token': tokenFor('there') } });
    return [status, headers.get('x-upstream')];
  };
  expect(await ask()).toEqual([204, expect.stringMatching(/^127\.0\.0\.1:/)]);
  freezeRedis();
  expect(await ask()).toEqual([204, null]);
});

test('an agent that is slow, or starts anew, is waited for', async () => {
  const { url, agent, agentUrl } = await startFleet();
  const path = `${url}${OWN}/rtc?access_token=${tokenFor('there')}`;
  const [answer] = agent.listeners('request') as [RequestListener];
  agent.removeAllListeners('request');
  agent.on('request', (request, response) => setTimeout(() => void answer(request, response), 900));
  expect(await (await fetch(path)).text()).toBe('B /rtc');
  expect(await offer(url)).toBe('B /whip/v1 offer');
  agent.close();
  agent.closeAllConnections();
  await once(agent, 'close');
  const led = Promise.all([fetch(path).then((one) => one.text()), offer(url)]);
  await sleep(900);
  agent.listen(Number(new URL(agentUrl).port), '127.0.0.1');
  expect(await led).toEqual(['B /rtc', 'B /whip/v1 offer']);
});

test('while the agent is away, or says nothing, any machine that serves will do', async () => {
  const { url, agent } = await startFleet();
  const path = `${url}${OWN}/rtc?access_token=${tokenFor('there')}`;
  expect(await (await fetch(path)).text()).toBe('B /rtc');
  agent.removeAllListeners('request');
  expect(await (await fetch(path)).text()).toBe('A /rtc');
  agent.close();
  agent.closeAllConnections();
  await once(agent, 'close');
  expect(await (await fetch(path)).text()).toBe('A /rtc');
  expect(await offer(url)).toBe('A /whip/v1 offer');
});
