import { connect } from 'node:net';
import { text } from 'node:stream/consumers';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createHttpApi } from '../../src/agent/http-api.ts';
import { openUpstreams } from '../../src/agent/upstream-files.ts';
import { UPSTREAMS_FOLDER } from '../../src/contract/upstream-files.ts';
import { freePorts } from '../e2e/installation.ts';
import { echoPath, serve, startGateway } from './caddy-fixture.ts';
import { silentLog } from './fixtures.ts';

const CHANGES = 100;
const CLIENTS = 4;

/** The first line of the answer to a client that has just come; what became of its connection where there is none. */
async function come(port: number, path: string): Promise<string> {
  const socket = connect({ host: '127.0.0.1', port, timeout: 10_000 }, () =>
    socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n`),
  );
  socket.on('timeout', () => socket.destroy(new Error('no answer')));
  try {
    return (await text(socket)).split('\r\n')[0] ?? '';
  } catch (error) {
    return String(error);
  }
}

test('nobody who is just coming in is cut off or refused while machines join, drain and vanish', async () => {
  const [AGENT_PORT = 0] = await freePorts(1);
  const nodes = [`127.0.0.1:${await serve(echoPath())}`, `127.0.0.1:${await serve(echoPath())}`];
  const { port, stateDir } = await startGateway({ AGENT_PORT });
  const upstreams = openUpstreams(`${stateDir}/${UPSTREAMS_FOLDER}`);
  await upstreams.give(nodes);
  let led: string | null = null;
  const agent = createHttpApi({ machine: 'm1', redis: null, log: silentLog, isLivekitServing: null, isInStep: null, wayTo: () => led, relay: null });
  agent.listen(AGENT_PORT, '127.0.0.1');
  const counts = new Map<string, number>();
  const over = new AbortController();
  const clients = Array.from({ length: CLIENTS }, async (_, index) => {
    for (let number = index; !over.signal.aborted; number++) {
      const answer = await come(port, ['/rtc/v1', '/n/m2/rtc/validate', '/twirp/x', '/n/gone/whip/v1'][number % 4] ?? '');
      counts.set(answer, (counts.get(answer) ?? 0) + 1);
    }
  });
  for (let change = 0; change < CHANGES; change++) {
    await upstreams.give([nodes, nodes.slice(0, 1), nodes.slice(1)][change % 3] ?? []);
    led = [...nodes, null][change % 3] ?? null;
    await delay(10);
  }
  over.abort();
  await Promise.all(clients);
  agent.close();
  agent.closeAllConnections();
  expect(Object.fromEntries(counts)).toEqual({ 'HTTP/1.1 200 OK': expect.any(Number) });
  expect(counts.get('HTTP/1.1 200 OK')).toBeGreaterThan(CHANGES);
  await upstreams.give([]);
  expect(await come(port, '/twirp/x')).toBe('HTTP/1.1 503 Service Unavailable');
});
