import { createHash } from 'node:crypto';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { RenderedFile } from './rendered-file.ts';

/** Name under which Sentinel watches the fleet's Redis. */
export const masterName = 'livekit';

/** redis.conf: password on every door, no eviction, append-only file. Redis and Sentinel may rewrite `replicaof`. */
export function renderRedis(settings: Settings, topology: Topology): RenderedFile {
  const { layout, address, bindAddresses } = topology;
  return shared(
    `${layout.state}/redis/redis.conf`,
    ['replicaof'],
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
  );
}

/** sentinel.conf. Sentinel itself adds what it learns and, after a failover, another primary. */
export function renderSentinel(settings: Settings, topology: Topology): RenderedFile {
  const { layout, address, bindAddresses } = topology;
  const primary = settings.REDIS_HOST === 'localhost' ? address : settings.REDIS_HOST;
  return shared(
    `${layout.state}/sentinel/sentinel.conf`,
    ['sentinel myid', 'sentinel known-replica', 'sentinel known-sentinel', 'sentinel current-epoch', 'sentinel config-epoch', 'sentinel leader-epoch'],
    [
      `bind ${bindAddresses.join(' ')}`,
      `port ${settings.SENTINEL_PORT}`,
      `requirepass ${settings.REDIS_PASSWORD}`,
      `dir ${layout.state}/sentinel`,
      'daemonize no',
      'logfile ""',
      `sentinel announce-ip ${address}`,
      `sentinel monitor ${masterName} ${primary} ${settings.REDIS_PORT} 1`,
      `sentinel auth-pass ${masterName} ${settings.REDIS_PASSWORD}`,
      `sentinel down-after-milliseconds ${masterName} 1500`,
      `sentinel failover-timeout ${masterName} 10000`,
    ],
  );
}

function shared(path: string, keep: readonly string[], lines: readonly string[]): RenderedFile {
  const body = `${lines.join('\n')}\n`;
  const marker = `# livekit-fleet ${createHash('sha256').update(body).digest('hex')}`;
  return { path, content: `${marker}\n${body}`, mode: 0o640, owner: 'service', ownership: { kind: 'shared', marker, keep } };
}
