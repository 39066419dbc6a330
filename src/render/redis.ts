import { createHash } from 'node:crypto';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { RenderedFile } from './rendered-file.ts';

/** Name under which Sentinel watches the fleet's Redis. */
export const masterName = 'livekit';

/** Where the fleet stood when this machine's Redis and Sentinel were first set up; from then on Sentinel knows better. */
export interface FleetSeed {
  /** Address of the Redis primary. */
  readonly primary: string;
  /** How many Sentinels must agree that it is gone; the agents adjust it to the size of the fleet. */
  readonly quorum: number;
}

/** Where redis.conf stands: in a folder that Redis may write, since it changes it. */
export function redisFile({ layout }: Topology): string {
  return `${layout.state}/redis/redis.conf`;
}

/** Where sentinel.conf stands; Sentinel changes it. */
export function sentinelFile({ layout }: Topology): string {
  return `${layout.state}/sentinel/sentinel.conf`;
}

/** redis.conf: password on every door, no eviction, append-only file. Redis and Sentinel may rewrite `replicaof`. */
export function renderRedis(settings: Settings, topology: Topology, { primary }: FleetSeed): RenderedFile {
  const { layout, address, bindAddresses } = topology;
  return shared(
    redisFile(topology),
    [
      `bind ${bindAddresses.join(' ')}`,
      'protected-mode yes',
      `port ${settings.REDIS_PORT}`,
      `requirepass ${settings.REDIS_PASSWORD}`,
      `masterauth ${settings.REDIS_PASSWORD}`,
      `dir ${layout.state}/redis`,
      'daemonize no',
      'logfile ""',
      // The append-only file is the only copy: a snapshot that fails on a full disk would make Redis refuse to stop.
      'save ""',
      'appendonly yes',
      'appendfsync everysec',
      'maxmemory-policy noeviction',
      'tcp-keepalive 15',
      'min-replicas-max-lag 5',
      `replica-announce-ip ${address}`,
    ],
    { keep: ['replicaof'], first: primary === address ? [] : [`replicaof ${primary} ${settings.REDIS_PORT}`] },
  );
}

/** sentinel.conf. Sentinel itself adds what it learns and, after a failover, another primary. */
export function renderSentinel(settings: Settings, topology: Topology, { primary, quorum }: FleetSeed): RenderedFile {
  const { layout, address, bindAddresses } = topology;
  const learnt = ['monitor', 'known-replica', 'known-sentinel', 'config-epoch', 'leader-epoch'].map((name) => `sentinel ${name} ${masterName}`);
  return shared(
    sentinelFile(topology),
    [
      `bind ${bindAddresses.join(' ')}`,
      `port ${settings.SENTINEL_PORT}`,
      `requirepass ${settings.REDIS_PASSWORD}`,
      `dir ${layout.state}/sentinel`,
      'daemonize no',
      'logfile ""',
      `sentinel announce-ip ${address}`,
      `sentinel auth-pass ${masterName} ${settings.REDIS_PASSWORD}`,
      `sentinel down-after-milliseconds ${masterName} 1500`,
      `sentinel failover-timeout ${masterName} 10000`,
    ],
    {
      keep: [...learnt, 'sentinel myid', 'sentinel current-epoch'],
      first: [`sentinel monitor ${masterName} ${primary} ${settings.REDIS_PORT} ${quorum}`],
    },
  );
}

function shared(path: string, lines: readonly string[], { keep, first }: { keep: readonly string[]; first: readonly string[] }): RenderedFile {
  const text = `${lines.join('\n')}\n`;
  const marker = `# livekit-fleet ${createHash('sha256').update(text).digest('hex')}`;
  const body = `${marker}\n${text}`;
  return {
    path,
    content: `${body}${first.map((line) => `${line}\n`).join('')}`,
    mode: 0o640,
    owner: 'service',
    ownership: { kind: 'shared', marker, keep, body },
  };
}
