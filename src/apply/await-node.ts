import type { Redis } from 'ioredis';
import { openRedis } from '../clients/open-redis.ts';
import { redisTimeMs } from '../clients/redis-time.ts';
import { LIVEKIT_NODES_KEY, readNodeStamps } from '../contract/livekit-records.ts';
import { NODES_KEY, parseNodeRecord } from '../contract/node-record.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Topology } from '../topology/topology.ts';

/**
 * LiveKit writes its entry every 2 s, gives rooms to nodes whose entry is less than 5 s old (1.13, IsAvailable), and answers `/` with 406
 * while its own word is older than this: what an agent adds to the entry does not make it well.
 */
const FRESH_MS = 4_000;
/** LiveKit and Redis count in whole seconds. */
const ROUNDING_MS = 1_000;
/** Agents say every second that they serve. */
const RECORD_MS = 3_000;
const POLL_MS = 50;
const LOG_LINES = 20;

/** The machine whose LiveKit is waited for. */
export interface AwaitNodeOptions {
  readonly settings: Settings;
  readonly topology: Topology;
  readonly manager: Pick<ServiceManager, 'tailLog'>;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/**
 * Waits until rooms have a path on this machine: LiveKit has told its Redis, whose data have just been replaced, of itself since, and the
 * agent has said since that it serves. Nothing to wait for where no LiveKit runs.
 * @throws FleetError NOT_HEALTHY after HEALTH_TIMEOUT; the signal's reason
 */
export async function awaitNode({ settings, topology, manager, now, signal }: AwaitNodeOptions): Promise<void> {
  if (!topology.hasMedia) return;
  const seconds = settings.HEALTH_TIMEOUT;
  const deadline = now() + seconds * 1_000;
  const at = { host: '127.0.0.1', port: settings.REDIS_PORT, password: settings.REDIS_PASSWORD };
  for (;;) {
    const detail = await openRedis(at).then(
      async (redis) => {
        try {
          return await missing(redis, topology.machine);
        } finally {
          redis.disconnect();
        }
      },
      (error: unknown) => String(error),
    );
    if (detail === null) return;
    signal.throwIfAborted();
    if (now() > deadline) throw new FleetError('NOT_HEALTHY', { seconds, parts: `livekit (${detail})`, log: await manager.tailLog('livekit', LOG_LINES) });
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What is not yet so; null where all is. */
async function missing(redis: Redis, machine: string): Promise<string | null> {
  const uptimeSeconds = Number(/^uptime_in_seconds:(\d+)/m.exec(await redis.info('server'))?.[1] ?? 0);
  // What was there before this Redis began was carried over.
  const sinceMs = (await redisTimeMs(redis)) - Math.min(uptimeSeconds * 1_000, RECORD_MS);
  const record = parseNodeRecord((await redis.hget(NODES_KEY, machine)) ?? '');
  if (record === null || record.nodeId === null || record.updatedAtMs < sinceMs) return 'up, but its agent has not said so yet';
  if (record.state !== 'serving' && record.state !== 'draining') return `up, but its agent says ${record.state}`;
  const entry = await redis.hgetBuffer(LIVEKIT_NODES_KEY, record.nodeId);
  // The first is LiveKit's own: one that has not found its Redis again may still answer, and no longer do so in a moment.
  const writtenMs = ((entry === null ? undefined : readNodeStamps(entry)[0]) ?? 0) * 1_000;
  const isOfNow = writtenMs + ROUNDING_MS > sinceMs && (await redisTimeMs(redis)) - writtenMs < FRESH_MS;
  return isOfNow ? null : 'up, but Redis does not name it yet';
}
