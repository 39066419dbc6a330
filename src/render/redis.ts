import { createHash } from 'node:crypto';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { RenderedFile, SharedFile } from './rendered-file.ts';

/** Name under which Sentinel watches the fleet's Redis. */
export const masterName = 'livekit';

/**
 * How long a primary is silent before a Sentinel calls it down, and the time that each step of a replacement gets. Where two Sentinels
 * are left of three, both may stand for election at once, so that neither wins: they try again after twice that time.
 */
export const sentinelTimes = { downAfterMs: 1_500, failoverTimeoutMs: 3_000 } as const;

/** Where the fleet stood when this machine's Redis and Sentinel were first set up; from then on Sentinel knows better. */
export interface FleetSeed {
  /** Address of the Redis primary. */
  readonly primary: string;
  /** How many Sentinels must agree that it is gone; the agents adjust it to the size of the fleet. */
  readonly quorum: number;
}

/** What a Sentinel knows of itself. */
const identity = ['sentinel myid', 'sentinel current-epoch'];

/** Redis's own folder. */
export function redisFolder({ layout }: Topology): string {
  return `${layout.state}/redis`;
}

/** Where redis.conf stands: in a folder that Redis may write, since it changes it. */
export function redisFile(topology: Topology): string {
  return `${redisFolder(topology)}/redis.conf`;
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
    { keep: ['replicaof'], adapt: null, needs: null, first: primary === address ? [] : [`replicaof ${primary} ${settings.REDIS_PORT}`] },
  );
}

/**
 * sentinel.conf. Sentinel itself adds what it learns and, after a failover, another primary. What it watches stands first:
 * Sentinel 6.0 and before refuse a password for what they do not watch yet, and print the line that they refuse.
 */
export function renderSentinel(settings: Settings, topology: Topology, { primary, quorum }: FleetSeed): RenderedFile {
  const learnt = ['monitor', 'known-replica', 'known-sentinel', 'config-epoch', 'leader-epoch'].map((name) => `sentinel ${name} ${masterName}`);
  return shared(
    sentinelFile(topology),
    [
      ...sentinelLines(settings, topology),
      `sentinel auth-pass ${masterName} ${settings.REDIS_PASSWORD}`,
      `sentinel down-after-milliseconds ${masterName} ${sentinelTimes.downAfterMs}`,
      `sentinel failover-timeout ${masterName} ${sentinelTimes.failoverTimeoutMs}`,
      `# this machine's Redis: ${settings.REDIS_PORT}`,
    ],
    {
      keep: [...learnt, ...identity],
      adapt: [`sentinel monitor ${masterName} ${topology.address} `, `${settings.REDIS_PORT}`],
      // The gateway machine's may watch nothing, and this machine may have been one.
      needs: `sentinel monitor ${masterName}`,
      first: [`sentinel monitor ${masterName} ${primary} ${settings.REDIS_PORT} ${quorum}`],
    },
  );
}

/** sentinel.conf of the gateway machine. Whether it watches and votes is the agent's to say; until then it watches nothing. */
export function renderWitness(settings: Settings, topology: Topology): RenderedFile {
  const watched = ['monitor', 'auth-pass', 'down-after-milliseconds', 'failover-timeout', 'known-replica', 'known-sentinel', 'config-epoch', 'leader-epoch'];
  const keep = [...watched.map((name) => `sentinel ${name} ${masterName}`), ...identity];
  return shared(sentinelFile(topology), sentinelLines(settings, topology), { keep, adapt: null, needs: null, first: [] });
}

function sentinelLines(settings: Settings, { layout, address, bindAddresses }: Topology): string[] {
  return [
    `bind ${bindAddresses.join(' ')}`,
    `port ${settings.SENTINEL_PORT}`,
    `requirepass ${settings.REDIS_PASSWORD}`,
    `dir ${layout.state}/sentinel`,
    'daemonize no',
    'logfile ""',
    `sentinel announce-ip ${address}`,
  ];
}

/** @param own the lines that the program goes on with: those it starts `first` with, then what `keep` names of its own */
function shared(
  path: string,
  lines: readonly string[],
  { first, ...own }: Pick<SharedFile, 'keep' | 'adapt' | 'needs'> & { first: readonly string[] },
): RenderedFile {
  const text = `${lines.join('\n')}\n`;
  const marker = `# livekit-fleet ${createHash('sha256').update(text).digest('hex')}`;
  const body = `${marker}\n${text}`;
  return {
    path,
    content: `${first.map((line) => `${line}\n`).join('')}${body}`,
    mode: 0o640,
    owner: 'service',
    ownership: { kind: 'shared', marker, ...own, body },
  };
}
