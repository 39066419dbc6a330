import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { globSync } from 'node:fs';
import { mkdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { expect, inject, onTestFinished } from 'vitest';
import { freePorts } from '../e2e/installation.ts';
import { temporaryDirectory, until } from './fixtures.ts';

/** Name under which these Sentinels watch. */
export const masterName = 'livekit';

/** The machines of `startThree`; the first has the primary. */
export const hosts = ['127.0.0.2', '127.0.0.3', '127.0.0.4'] as const;

/** Machines of a fleet on loopback addresses of their own, all with the same ports. */
export interface Fleet {
  readonly redisPort: number;
  readonly sentinelPort: number;
  /** A Redis (a replica where `of` names another one) and a Sentinel that watches the primary. */
  startMachine(host: string, options: { primary: string; quorum: number }): Promise<void>;
  /** A Sentinel that watches nothing. */
  startWitness(host: string): Promise<void>;
  /** Ends both without a word: their sockets stay open and silent, as after a power cut. */
  freeze(host: string): void;
  thaw(host: string): void;
  connect(host: string, port: number): Redis;
}

function connect(host: string, port: number): Redis {
  const redis = new Redis({ host, port, retryStrategy: () => 50, commandTimeout: 1_000 });
  redis.on('error', () => undefined);
  onTestFinished(() => redis.disconnect());
  return redis;
}

/** Starts nothing yet; what is started ends with the test. */
export async function createFleet(): Promise<Fleet> {
  const [redisPort = 0, sentinelPort = 0] = await freePorts(2);
  const folder = await temporaryDirectory();
  const [program = ''] = globSync(`${inject('componentStore')}/redis/*/bin/redis-server`);
  const children = new Map<string, ChildProcess[]>();
  const run = (host: string, argv: string[]): void => {
    const child = spawn(program, argv, { stdio: 'ignore' });
    onTestFinished(() => void child.kill('SIGKILL'));
    children.set(host, [...(children.get(host) ?? []), child]);
  };
  const startSentinel = async (host: string, lines: readonly string[]): Promise<void> => {
    const file = join(folder, host, 'sentinel.conf');
    const own = [`bind ${host}`, `port ${sentinelPort}`, `dir ${join(folder, host)}`, `sentinel announce-ip ${host}`];
    await mkdir(join(folder, host), { recursive: true });
    await writeFile(file, [...own, ...lines, ''].join('\n'));
    run(host, [file, '--sentinel']);
    await until(async () => void (await connect(host, sentinelPort).ping()));
  };
  return {
    redisPort,
    sentinelPort,
    connect,
    async startMachine(host, { primary, quorum }) {
      const dir = join(folder, host);
      await mkdir(dir, { recursive: true });
      const replica = primary === host ? [] : ['--replicaof', primary, String(redisPort)];
      run(host, ['--bind', host, '--port', String(redisPort), '--save', '', '--dir', dir, '--replica-announce-ip', host, ...replica]);
      await startSentinel(host, [
        `sentinel monitor ${masterName} ${primary} ${redisPort} ${quorum}`,
        `sentinel down-after-milliseconds ${masterName} 500`,
        `sentinel failover-timeout ${masterName} 3000`,
      ]);
    },
    startWitness: (host) => startSentinel(host, []),
    freeze: (host) => children.get(host)?.forEach((child) => child.kill('SIGSTOP')),
    thaw: (host) => children.get(host)?.forEach((child) => child.kill('SIGCONT')),
  };
}

/** The other Sentinels that this one knows of, by host. */
export async function othersOf(sentinel: Redis): Promise<string[]> {
  const found = await sentinel.call('SENTINEL', 'SENTINELS', masterName);
  const entries = Array.isArray(found) ? found.filter((one): one is unknown[] => Array.isArray(one)) : [];
  return entries.map((entry) => String(entry[entry.indexOf('ip') + 1])).toSorted();
}

/** How many replicas this Sentinel knows, of which it learns when it asks the primary, every ten seconds. */
async function replicasOf(sentinel: Redis): Promise<number> {
  const found = await sentinel.call('SENTINEL', 'REPLICAS', masterName);
  return Array.isArray(found) ? found.length : 0;
}

/** Three machines whose Sentinels know each other and their replicas. */
export async function startThree(): Promise<Fleet> {
  const [first] = hosts;
  const fleet = await createFleet();
  await Promise.all(hosts.map((host) => fleet.startMachine(host, { primary: first, quorum: 2 })));
  for (const host of hosts) {
    const sentinel = fleet.connect(host, fleet.sentinelPort);
    await until(async () => expect(await othersOf(sentinel)).toHaveLength(2), 15_000);
  }
  await until(async () => expect(await fleet.connect(first, fleet.redisPort).info('replication')).toContain('connected_slaves:2'), 15_000);
  for (const host of hosts) {
    const sentinel = fleet.connect(host, fleet.sentinelPort);
    await until(async () => expect(await replicasOf(sentinel)).toBe(2), 20_000);
  }
  return fleet;
}
