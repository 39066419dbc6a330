import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { globSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as delay } from 'node:timers/promises';
import { Redis } from 'ioredis';
import { pino } from 'pino';
import { openFleetMemory } from '../../src/agent/fleet-memory.ts';
import { startGatewaySync } from '../../src/agent/gateway-sync.ts';
import { startVanishedNodes } from '../../src/agent/vanished-nodes.ts';
import { createHttpApi } from '../../src/agent/http-api.ts';
import { openUpstreams } from '../../src/agent/upstream-files.ts';
import { upstreamFiles } from '../../src/contract/upstream-files.ts';
import { CHANGED_CHANNEL, NODES_KEY } from '../../src/contract/node-record.ts';
import { SIGHTS_KEY } from '../../src/contract/sight.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { renderCaddy } from '../../src/render/caddy.ts';
import { comeWhile } from '../agent/come.ts';
import { freePorts, until } from '../e2e/installation.ts';
import { desireFrom } from '../golden/render.ts';
import type { Row } from './table.ts';

export interface ScaleBenchOptions {
  readonly rounds: number;
  /** Component store that holds everything already. */
  readonly store: string;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

const MANY = 1_000;
const SIZES = [3, 100, MANY] as const;
/** Long enough for several of the agent's seconds. */
const WATCH_MS = 10_000;
const POLL_MS = 5;
/** Changes of the fleet that clients meet who are just coming in, and how many those are at a time. */
const [CHANGES, CLIENTS] = [100, 8];
/** Longer than Caddy takes for a reload. */
const CHANGE_MS = 50;
/** The first look at all machines. */
const WARM_UP_MS = 2_000;

/** What a large fleet costs: the deploy's own work, the gateway's change, and the agents' traffic to Redis. */
export async function benchScale(options: ScaleBenchOptions): Promise<Row[]> {
  const { rounds, signal, say } = options;
  const planned: number[] = [];
  for (let round = 1; round <= rounds; round++) planned.push(timePlan());
  say(`plan and render: ${planned.map((one) => one.toFixed(3)).join(', ')} s`);
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-scale-`);
  const end = new AbortController();
  try {
    const gateway = await startGateway(folder, options, end.signal);
    const cut: number[] = [];
    const cutByReloads: number[] = [];
    for (let round = 1; round <= rounds; round++) {
      cut.push(await gateway.countCut('files'));
      cutByReloads.push(await gateway.countCut('reloads'));
      say(`of those who came in during ${CHANGES} changes, cut off: ${cut.at(-1)}, by as many reloads: ${cutByReloads.at(-1)}`);
    }
    const traffic: number[] = [];
    const mediaTraffic: number[] = [];
    let changes: number[] = [];
    for (const size of SIZES) {
      signal.throwIfAborted();
      await gateway.fill(size);
      traffic.push(await gateway.measureTraffic());
      mediaTraffic.push(await gateway.measureMediaTraffic());
      changes = [];
      for (let round = 1; round <= rounds; round++) changes.push(await gateway.timeChange());
      say(
        `${size} nodes: gateway ${(traffic.at(-1) ?? 0).toFixed(1)} kB/s, media machine ${(mediaTraffic.at(-1) ?? 0).toFixed(1)} kB/s, a change after ${changes.map((one) => one.toFixed(3)).join(', ')} s`,
      );
    }
    // Beside what growth in proportion would make of the smaller fleet.
    const growth = (who: string, kilobytes: readonly number[]): Row[] =>
      SIZES.map((size, index) => {
        const former = index === 0 ? null : ((kilobytes[index - 1] ?? 0) * size) / (SIZES[index - 1] ?? 1);
        const [name, ours] = [`${who}'s traffic with Redis, ${size} nodes`, [kilobytes[index] ?? Number.NaN]];
        return former === null
          ? { name, unit: 'kB/s', ours, floor: [], limit: { value: 10 } }
          : { name, unit: 'kB/s', ours, floor: [former], limit: { times: 1.1 } };
      });
    return [
      { name: `cut off while coming in, ${CHANGES} changes`, unit: '', ours: cut, floor: cutByReloads, limit: { value: 0 }, isWorstCounted: true },
      { name: `plan and render, ${MANY} nodes`, unit: 's', ours: planned, floor: [], limit: { value: 1 } },
      { name: `gateway follows a change, ${MANY} nodes`, unit: 's', ours: changes, floor: [], limit: { value: 1 } },
      ...growth('gateway', traffic),
      ...growth('media machine', mediaTraffic),
    ];
  } finally {
    end.abort();
    // What is being killed may still write.
    await rm(folder, { recursive: true, maxRetries: 20 });
  }
}

function addressOf(index: number): string {
  return `10.${index >> 8}.${index & 255}.1`;
}

/** Nothing listens there, which this computer says at once, as a machine that is there does. */
function neighbourOf(index: number): string {
  return `127.1.${index >> 8}.${index & 255}`;
}

/** Seconds from the text of `.env` to the changes of a new media machine among many. */
function timePlan(): number {
  const addresses = Array.from({ length: MANY - 1 }, (_, index) => addressOf(index));
  const began = performance.now();
  const { desired } = desireFrom(`DATA_DIR=/opt/fleet\nNODES=192.168.1.2,${addresses.join(',')}\nREDIS_HOST=192.168.1.2\n`, { role: 'media' });
  const changes = makePlan(desired, { files: new Map(), applied: {}, running: new Set() });
  if (changes.length === 0) throw new Error('nothing planned');
  return (performance.now() - began) / 1000;
}

interface BenchGateway {
  /** As many nodes as that in the registry. */
  fill(size: number): Promise<void>;
  /** How many clients got no answer who came in while the fleet changed; where each change is a reload of Caddy's configuration, for comparison. */
  countCut(by: 'files' | 'reloads'): Promise<number>;
  /** Kilobytes a second between the agent and Redis at rest. */
  measureTraffic(): Promise<number>;
  /** The same for the part of a media machine's agent that watches the others. */
  measureMediaTraffic(): Promise<number>;
  /** Seconds from the announcement of a node's new address until its path leads there. */
  timeChange(): Promise<number>;
}

/** A real Redis, a real Caddy with the rendered configuration, and the agent's parts that lead its clients; all end with the signal. */
async function startGateway(folder: string, { store }: ScaleBenchOptions, ended: AbortSignal): Promise<BenchGateway> {
  const [redisPort = 0, HTTP_PORT = 0, HTTPS_PORT = 0, GATEWAY_INTERNAL_PORT = 0, AGENT_PORT = 0] = await freePorts(5);
  const [redisServer = ''] = globSync(`${store}/redis/*/bin/redis-server`);
  const [caddy = ''] = globSync(`${store}/caddy/*/bin/caddy`);
  const ports = Object.entries({ HTTP_PORT, HTTPS_PORT, GATEWAY_INTERNAL_PORT, AGENT_PORT }).map(([name, port]) => `${name}=${port}\n`);
  const { settings, topology } = desireFrom(`DATA_DIR=${folder}\nDOMAIN=localhost\n${ports.join('')}`);
  for (const part of ['caddy', 'agent']) await mkdir(`${folder}/state/${part}`, { recursive: true });
  await writeFile(`${folder}/caddy.json`, renderCaddy(settings, topology).content);
  const env = { HOME: folder, XDG_DATA_HOME: folder, XDG_CONFIG_HOME: folder };
  const caddyProcess = spawn(caddy, ['run', '--config', `${folder}/caddy.json`], { env, stdio: 'ignore' });
  const children = [caddyProcess, spawn(redisServer, ['--port', String(redisPort), '--bind', '127.0.0.1', '--save', '', '--dir', folder], { stdio: 'ignore' })];
  ended.addEventListener('abort', () => children.forEach((child) => child.kill('SIGKILL')));
  const connect = (): Redis => {
    const redis = new Redis({ port: redisPort, host: '127.0.0.1', retryStrategy: () => 50 });
    redis.on('error', () => undefined);
    ended.addEventListener('abort', () => redis.disconnect());
    return redis;
  };
  const own = connect();
  const servers = await Promise.all(['a', 'b'].map(serveName));
  ended.addEventListener('abort', () => servers.forEach(({ server }) => server.close()));
  const path = `http://127.0.0.1:${HTTP_PORT}/n/m0/rtc/validate`;
  const answer = async (): Promise<string> =>
    fetch(path).then(
      async (one) => one.text(),
      () => '',
    );
  await until(async () => (await fetch(`http://127.0.0.1:${HTTP_PORT}/nothing`).catch(() => null))?.status === 404, 20_000);
  const upstreams = openUpstreams(upstreamFiles(`${folder}/state/agent`, true));
  await upstreams.give([`127.0.0.1:${servers[0]?.port}`]);
  const sync = startGatewaySync({
    redis: connect(),
    subscriber: connect(),
    upstreams,
    memory: openFleetMemory(`${folder}/fleet.json`),
    log: pino({ level: 'silent' }),
    monotonicMs: () => performance.now(),
  });
  ended.addEventListener('abort', () => void sync.stop());
  const log = pino({ level: 'silent' });
  const api = createHttpApi({
    machine: 'm1',
    redis: connect(),
    log,
    isLivekitServing: null,
    isInStep: null,
    wayTo: (wanted) => sync.wayTo(wanted),
    relay: null,
  });
  api.listen(AGENT_PORT, '127.0.0.1');
  ended.addEventListener('abort', () => api.close());
  // As if its heart went on beating for as long as the measurement takes.
  const soonMs = async (): Promise<number> => (Number((await own.time())[0]) + 600) * 1000;
  let size = 0;
  let turn = 0;
  const write = async (index: number, signalling: string): Promise<void> => {
    const updatedAtMs = await soonMs();
    const record = { machine: `m${index}`, signalling, nodeId: `ND_${index}`, version: '1', state: 'serving', keyFingerprint: '' };
    await own.hset(NODES_KEY, record.machine, JSON.stringify({ ...record, updatedAtMs }));
    await own.hset(SIGHTS_KEY, record.machine, String(updatedAtMs));
  };
  const portOf = (which: number): number => servers[which % servers.length]?.port ?? 0;
  const change = async (): Promise<void> => {
    turn++;
    await write(0, `127.0.0.1:${portOf(turn)}`);
    await own.publish(CHANGED_CHANNEL, 'm0');
  };
  const wanted = (): string => servers[turn % servers.length]?.name ?? '';
  const changes = {
    files: async (number: number) => void (await upstreams.give([`127.0.0.1:${servers[number % 2]?.port}`])),
    async reloads(number: number) {
      const text = await readFile(`${folder}/caddy.json`, 'utf8');
      await writeFile(`${folder}/caddy.json`, text.replace(/"retries": \d+/, `"retries": ${1 + (number % 2)}`));
      caddyProcess.kill('SIGUSR1');
    },
  };
  return {
    async countCut(by) {
      const changeAgainAndAgain = async (): Promise<void> => {
        for (let number = 0; number < CHANGES; number++) {
          await changes[by](number);
          await delay(CHANGE_MS);
        }
      };
      const counts = await comeWhile(changeAgainAndAgain, { port: HTTP_PORT, paths: ['/twirp/x'], clients: CLIENTS });
      return Object.entries(counts).reduce((sum, [line, count]) => sum + (line.startsWith('HTTP/1.1 ') ? 0 : count), 0);
    },
    async fill(wantedSize) {
      for (let index = size; index < wantedSize; index++) await write(index, `${neighbourOf(index)}:1`);
      size = wantedSize;
      await change();
      await until(async () => (await answer()) === wanted(), 30_000);
    },
    async measureTraffic() {
      const [before, began] = [await bytesOf(own), performance.now()];
      await delay(WATCH_MS);
      return ((await bytesOf(own)) - before) / (performance.now() - began);
    },
    async measureMediaTraffic() {
      const redis = connect();
      const watching = startVanishedNodes({ machine: 'm0', sentinelPort: 1, redis, log: pino({ level: 'silent' }), monotonicMs: () => performance.now() });
      await delay(WARM_UP_MS);
      const bytes = (): number => redis.stream.bytesRead + redis.stream.bytesWritten;
      const [before, began] = [bytes(), performance.now()];
      await delay(WATCH_MS);
      const kilobytes = (bytes() - before) / (performance.now() - began);
      await watching.stop();
      redis.disconnect();
      return kilobytes;
    },
    async timeChange() {
      const began = performance.now();
      await change();
      for (let said = ''; said !== wanted(); said = await answer()) await delay(POLL_MS);
      return (performance.now() - began) / 1000;
    },
  };
}

/** What went into this Redis and out of it since it started. */
async function bytesOf(redis: Redis): Promise<number> {
  const stats = await redis.info('stats');
  return [/total_net_input_bytes:(\d+)/, /total_net_output_bytes:(\d+)/].reduce((sum, pattern) => sum + Number(pattern.exec(stats)?.[1] ?? 0), 0);
}

/** A server that answers with its name. */
async function serveName(name: string): Promise<{ name: string; port: number; server: ReturnType<typeof createServer> }> {
  const server = createServer((_request, response) => response.end(name));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return { name, port: (server.address() as AddressInfo).port, server };
}
