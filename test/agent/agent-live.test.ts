import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, inject, onTestFinished, test } from 'vitest';
import { upstreamFiles } from '../../src/contract/upstream-files.ts';
import { startAgent } from '../../src/agent/start-agent.ts';
import { startGateway } from './caddy-fixture.ts';
import { agentConfig, agentEnvironment, startReceiver, temporaryDirectory, until } from './fixtures.ts';

test('a media machine reaches a real Caddy through a real Redis, forgets its ended node, and marks its own end', async () => {
  const directory = await temporaryDirectory();
  const [redisPort, agentPort] = [await freePort(), await freePort()];
  const { port: caddyPort, stateDir } = await startGateway({ AGENT_PORT: agentPort });
  run(program('redis', 'redis-server'), ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--dir', directory]);
  const redis = new Redis(redisPort, '127.0.0.1');
  onTestFinished(() => redis.disconnect());
  // What a machine that lost its power left behind.
  await until(async () => expect(await redis.hset('nodes', { ND_0: 'dead', ND_9: 'of another machine' })).toBe(2));
  await redis.hset('room_node_map', { r1: 'ND_0', r2: 'ND_9' });
  const left = {
    machine: 'm2',
    signalling: '127.0.0.1:1',
    nodeId: 'ND_0',
    version: '1',
    state: 'serving',
    livekitConfig: join(directory, 'livekit.yaml'),
    keyFingerprint: 'ab',
    updatedAtMs: 1,
  };
  await redis.hset('fleet:nodes', 'm2', JSON.stringify(left));
  let isUp = true;
  const livekit = await startReceiver((request) => ({ status: isUp ? 200 : 406, body: request.url === '/metrics' ? 'x{node_id="ND_1"} 1\n' : request.url }));
  const address = new URL(livekit.url).host;
  const stop = await startAgent(
    agentConfig({
      machine: 'm2',
      port: agentPort,
      stateDir,
      journal: join(directory, 'journal.jsonl'),
      redis: { sentinels: [], masterName: 'livekit', password: '', direct: { host: '127.0.0.1', port: redisPort } },
      media: {
        signallingUrl: livekit.url,
        advertiseAddress: address,
        metricsUrl: `${livekit.url}/metrics`,
        metricsUsername: 'u',
        metricsPassword: 'p',
        version: '1',
        livekitConfig: join(directory, 'livekit.yaml'),
        keyFingerprint: 'ab',
      },
      gateway: { webhooks: null },
    }),
    agentEnvironment,
  );
  const upstream = (): Promise<string> => readFile(upstreamFiles(stateDir, true)[0] ?? '', 'utf8');
  await until(async () => expect(await upstream()).toBe(address), 15_000);
  await until(async () => expect(await (await fetch(`http://127.0.0.1:${caddyPort}/n/m2/rtc`)).text()).toBe('/rtc'));
  await until(async () => {
    const health: unknown = await (await fetch(`http://127.0.0.1:${agentPort}/healthz`)).json();
    expect(health).toMatchObject({ machine: 'm2', redis: true, livekit: true, upstreams: true, nodes: [{ nodeId: 'ND_1', state: 'serving' }] });
  });
  await until(async () => expect(await redis.hgetall('nodes')).toEqual({ ND_9: 'of another machine' }));
  expect(await redis.hgetall('room_node_map')).toEqual({ r2: 'ND_9' });
  await redis.sadd('fleet:draining', 'ND_1');
  await until(async () => expect(await upstream()).toBe(''));
  await until(async () => expect(await (await fetch(`http://127.0.0.1:${caddyPort}/n/m2/rtc`)).text()).toBe('/rtc'));
  isUp = false;
  await stop();
  expect(JSON.parse((await redis.hget('fleet:nodes', 'm2')) ?? '{}')).toMatchObject({ state: 'stopped' });
}, 30_000);

/** A program of the component store. */
function program(component: string, name: string): string {
  const [found] = globSync(`${inject('componentStore')}/${component}/*/bin/${name}`);
  if (found === undefined) throw new Error(`no ${name} in the store`);
  return found;
}

function run(file: string, argv: string[]): void {
  const child = spawn(file, argv, { stdio: 'ignore' });
  onTestFinished(() => void child.kill('SIGKILL'));
}

async function freePort(): Promise<number> {
  const server = createServer();
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  const { port } = server.address() as AddressInfo;
  await new Promise((resolve) => server.close(resolve));
  return port;
}
