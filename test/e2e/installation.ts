import { execa } from 'execa';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { chmod, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { resolve } from 'node:path';

/** Result of one command of the product. */
export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

/** An installation in a folder and on ports of its own. */
export interface Installation {
  readonly folder: string;
  readonly envFile: string;
  readonly ports: Readonly<Record<string, number>>;
  run(words: readonly string[], env?: Record<string, string>): Promise<Ran>;
  remove(): Promise<void>;
}

const NAMES = [
  'HTTP_PORT',
  'HTTPS_PORT',
  'SERVICE_PORT',
  'GATEWAY_INTERNAL_PORT',
  'LIVEKIT_HTTP_PORT',
  'LIVEKIT_TCP_PORT',
  'TURN_UDP_PORT',
  'METRICS_PORT',
  'REDIS_PORT',
  'SENTINEL_PORT',
  'AGENT_PORT',
];
const root = resolve(import.meta.dirname, '../..');
/** Test files that run at the same time take their ports from different ranges: a port is free until its owner has started. */
const turn = (Number(process.env['VITEST_POOL_ID'] ?? 1) - 1) % 5;
const [firstPort, portCount] = [15_000 + turn * 3_000, 3_000];

/** A program that passes for LiveKit until it has to serve. */
export const brokenLivekit = '#!/bin/sh\nif [ "$1" = --version ]; then echo livekit-server version 1.13.5; else echo this one is broken; fi\n';

/** Writes a `.env` with free ports and these variables; nothing runs yet. */
export async function createInstallation(variables: Readonly<Record<string, string>> = {}): Promise<Installation> {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-`);
  await chmod(folder, 0o755);
  const numbers = await freePorts(NAMES.length);
  const ports = Object.fromEntries(NAMES.map((name, index) => [name, numbers[index] ?? 0]));
  const envFile = `${folder}/.env`;
  const lines = [
    `DATA_DIR=${folder}/data`,
    'SUPERVISOR=processes',
    'HEALTH_TIMEOUT=30',
    `LIVEKIT_UDP_PORTS=${52_000 + turn * 1_000}-${52_999 + turn * 1_000}`,
    // Tests ask nobody outside.
    'NODE_PUBLIC_IP=none',
    ...Object.entries(ports).map(([name, port]) => `${name}=${port}`),
    ...Object.entries(variables).map(([name, value]) => `${name}=${value}`),
  ];
  await writeFile(envFile, `${lines.join('\n')}\n`);
  return {
    folder,
    envFile,
    ports,
    async run(words, env = {}) {
      const result = await execa(`${root}/部署.sh`, [...words, '--env', envFile], { env: { LANG: 'C', ...env }, reject: false, timeout: 900_000 });
      return { code: result.exitCode ?? -1, out: result.stdout, err: result.stderr };
    },
    remove: () => rm(folder, { recursive: true, force: true }),
  };
}

/** Waits for a condition; rejects after `timeoutMs`. It is asked every 50 ms, more seldom where that takes long: others need the cores. */
export async function until(condition: () => Promise<boolean>, timeoutMs: number): Promise<void> {
  for (const deadline = Date.now() + timeoutMs; ;) {
    const askedMs = Date.now();
    if (await condition()) return;
    if (Date.now() > deadline) throw new Error(`not so within ${timeoutMs} ms`);
    const pauseMs = Math.min(Math.max(50, 2 * (Date.now() - askedMs)), 1_000);
    await new Promise((done) => setTimeout(done, pauseMs));
  }
}

/**
 * Waits until `status` finds all well: a part that follows others (Caddy, the service, LiveKit's entry in Redis) may take a second after a
 * command. Rejects with what it says after 30 s.
 */
export async function untilWell(status: () => Promise<Ran>): Promise<void> {
  let last: Ran | null = null;
  const isWell = async (): Promise<boolean> => (last = await status()).code === 0;
  await until(isWell, 30_000).catch(() => {
    throw new Error(`not well: ${last?.out} ${last?.err}`);
  });
}

/** Ports below the range that the system gives to outgoing connections. */
export async function freePorts(count: number): Promise<number[]> {
  const found: number[] = [];
  while (found.length < count) {
    const port = firstPort + Math.floor(Math.random() * portCount);
    if (!found.includes(port) && (await isFree(port))) found.push(port);
  }
  return found;
}

function isFree(port: number): Promise<boolean> {
  return new Promise((done) => {
    const server = createServer();
    server.on('error', () => done(false));
    server.listen(port, () => {
      const { port: bound } = server.address() as AddressInfo;
      server.close(() => done(bound === port));
    });
  });
}
