import { spawn } from 'node:child_process';
import { randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { mkdtemp, readFile, readdir, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join, resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { text } from 'node:stream/consumers';
import { renderParts } from '../../src/render/parts.ts';
import { openStore } from '../../src/service/store/store.ts';
import { freePorts, until } from '../e2e/installation.ts';
import { desireCase, secrets } from '../golden/render.ts';
import { storeRooms } from './service-rooms.ts';

export type LoadKind = 'create' | 'join' | 'webhook';

/** What the load generator is to do. */
export interface Load {
  readonly kind: LoadKind;
  readonly port: number;
  readonly connections: number;
  readonly requests: number;
  /** Null: the next request goes when the answer to the one before has come. */
  readonly perSecond: number | null;
  readonly rooms: readonly string[];
  readonly token: string;
  readonly key: { readonly name: string; readonly secret: string };
  /** Makes events that no other load makes. */
  readonly salt: string;
}

export interface LoadResult {
  readonly perSecond: number;
  readonly p99Ms: number;
  /** Answers that were no success. */
  readonly wrong: number;
  readonly example: string;
}

/** A business service that is measured. */
export interface BenchService {
  load(wanted: Pick<Load, 'kind' | 'requests' | 'perSecond' | 'rooms'>): Promise<LoadResult>;
  createRooms(count: number): Promise<string[]>;
  /** Greatest resident memory so far, and now, in MB (10^6 bytes). */
  memory(): Promise<{ peak: number; now: number }>;
  openFiles(): Promise<number>;
  /** The process's id. */
  readonly pid: number;
  stop(): Promise<void>;
}

const CONNECTIONS = 16;
const root = resolve(import.meta.dirname, '../..');

/** The built service with the flags and settings that a deploy gives it; @param stored rooms that are in its database from before; @param prepare puts more into that */
export async function startBenchService(stored: number, prepare: (database: string) => Promise<void> | void = () => undefined): Promise<BenchService> {
  const { settings, topology, desired } = desireCase('localhost');
  const programs = { node: process.execPath, redisServer: '', livekitServer: '', caddy: '' };
  const spec = renderParts(settings, topology, programs, { root: '/opt/livekit-fleet', envPath: '/opt/livekit-fleet/.env' }).find(
    (one) => one.part === 'service',
  );
  const rendered = desired.files.find((one) => one.path.endsWith('/service.json'));
  if (spec === undefined || rendered === undefined) throw new Error('a deploy has no service');
  // On a disk, not in memory.
  const folder = await mkdtemp('/var/tmp/livekit-fleet-bench-');
  const others = await startOthers();
  const [port = 0] = await freePorts(1);
  const database = join(folder, 'service.db');
  await (await openStore(database)).close();
  storeRooms(database, stored);
  await prepare(database);
  const config = { ...(JSON.parse(rendered.content) as object), port, database, livekitApiUrl: others.url, nodeLookupUrl: others.url };
  await writeFile(join(folder, 'service.json'), JSON.stringify(config));
  const flags = spec.argv.slice(1).filter((word) => word.startsWith('--') && word !== '--config');
  const words = [...flags, `${root}/dist/service.cjs`, '--config', join(folder, 'service.json')];
  const child = spawn(process.execPath, words, { env: { ...process.env, ...spec.env }, stdio: ['ignore', 'ignore', 'inherit'] });
  const base = `http://127.0.0.1:${port}`;
  await until(async () => (await fetch(`${base}/healthz`).catch(() => null))?.ok === true, 20_000);
  const status = async (name: string): Promise<number> => {
    const found = new RegExp(`^${name}:\\s+(\\d+) kB$`, 'm').exec(await readFile(`/proc/${child.pid}/status`, 'utf8'));
    return (Number(found?.[1]) * 1024) / 1e6;
  };
  return {
    pid: child.pid ?? 0,
    load: (wanted) =>
      runLoad({
        ...wanted,
        port,
        connections: CONNECTIONS,
        token: secrets.SERVICE_API_TOKEN,
        key: { name: secrets.LIVEKIT_API_KEY, secret: secrets.LIVEKIT_API_SECRET },
        salt: `${randomUUID()}-`,
      }),
    createRooms: (count) =>
      Promise.all(
        Array.from({ length: count }, async () => {
          const headers = { authorization: `Bearer ${secrets.SERVICE_API_TOKEN}`, 'content-type': 'application/json' };
          const answer = await fetch(`${base}/api/v1/rooms`, { method: 'POST', headers, body: '{}' });
          return ((await answer.json()) as { id: string }).id;
        }),
      ),
    memory: async () => ({ peak: await status('VmHWM'), now: await status('VmRSS') }),
    openFiles: async () => (await readdir(`/proc/${child.pid}/fd`)).length,
    async stop() {
      const ended = once(child, 'exit');
      child.kill('SIGTERM');
      await ended;
      others.close();
      await rm(folder, { recursive: true });
    },
  };
}

/** The load that the bare floor carries, in requests per second. */
export async function measureFloor(requests: number): Promise<number> {
  const child = spawn(process.execPath, [`${import.meta.dirname}/service-floor.ts`], { stdio: ['ignore', 'pipe', 'inherit'] });
  try {
    const [line] = (await once(createInterface(child.stdout), 'line')) as [string];
    const key = { name: 'key', secret: 'secret' };
    const load = { kind: 'join' as const, port: Number(line), connections: CONNECTIONS, requests, perSecond: null, rooms: ['bench'], token: '', key, salt: '' };
    await runLoad({ ...load, requests: requests / 2 });
    return (await runLoad(load)).perSecond;
  } finally {
    child.kill();
  }
}

async function runLoad(load: Load): Promise<LoadResult> {
  const child = spawn(process.execPath, [`${import.meta.dirname}/service-load.ts`], { stdio: ['pipe', 'pipe', 'inherit'] });
  child.stdin.end(JSON.stringify(load));
  const result = JSON.parse(await text(child.stdout)) as LoadResult;
  if (result.wrong > 0) throw new Error(`${result.wrong} of ${load.requests} ${load.kind} failed: ${result.example}`);
  return result;
}

/** Answers as LiveKit does when it makes a room, and as the agent where a room is: the service's own work is measured, not theirs. */
async function startOthers(): Promise<{ url: string; close(): void }> {
  const server = createServer((request, response) => {
    // It knows nothing of who is in its rooms: the service would take what the load said back.
    if (request.url?.endsWith('/ListRooms') === true) return void response.writeHead(503).end();
    const isNode = request.url?.endsWith('/node') === true;
    response.end(JSON.stringify(isNode ? { path: '/n/m1' } : { creationTime: String(Math.floor(Date.now() / 1000)), creationTimeMs: String(Date.now()) }));
  });
  await new Promise<void>((done) => void server.listen(0, '127.0.0.1', done));
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, close: () => void server.close() };
}
