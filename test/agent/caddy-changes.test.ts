import { setTimeout as delay } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { createHttpApi } from '../../src/agent/http-api.ts';
import { openUpstreams } from '../../src/agent/upstream-files.ts';
import { upstreamFiles } from '../../src/contract/upstream-files.ts';
import { freePorts } from '../e2e/installation.ts';
import { echoPath, serve, startGateway } from './caddy-fixture.ts';
import { come, comeWhile } from './come.ts';
import { silentLog } from './fixtures.ts';

const CHANGES = 100;

test('nobody who is just coming in is cut off or refused while machines join, drain and vanish', async () => {
  const [AGENT_PORT = 0] = await freePorts(1);
  const [first = '', second = ''] = [`127.0.0.1:${await serve(echoPath())}`, `127.0.0.1:${await serve(echoPath())}`];
  const { port, stateDir } = await startGateway({ AGENT_PORT });
  const upstreams = openUpstreams(upstreamFiles(stateDir, true));
  await upstreams.give([first]);
  let led: string | null = null;
  await serve(createHttpApi({ machine: 'm1', redis: null, log: silentLog, isLivekitServing: null, isInStep: null, wayTo: () => led, relay: null }), AGENT_PORT);
  const change = async (): Promise<void> => {
    for (let number = 0; number < CHANGES; number++) {
      await upstreams.give([number % 2 === 0 ? second : first]);
      led = [first, second, null][number % 3] ?? null;
      await delay(10);
    }
  };
  const counts = await comeWhile(change, { port, paths: ['/rtc/v1', '/n/m2/rtc/validate', '/twirp/x', '/n/gone/whip/v1'], clients: 4 });
  expect(counts).toEqual({ 'HTTP/1.1 200 OK': expect.any(Number) });
  expect(counts['HTTP/1.1 200 OK']).toBeGreaterThan(CHANGES);
  await upstreams.give([]);
  expect(await come(port, '/twirp/x')).toBe('HTTP/1.1 503 Service Unavailable');
});
