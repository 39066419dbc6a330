import type { Redis } from 'ioredis';
import { FleetError } from '../kernel/errors.ts';
import type { Endpoint } from './redis.ts';

/** On a private network a connection takes milliseconds. */
const CONNECT_MS = 5_000;

/**
 * Connects to one Redis for the work of a moment: it is not connected to again when it is lost.
 * @throws FleetError REDIS_REFUSED with the reason
 */
export async function openRedis(at: Endpoint & { password: string }): Promise<Redis> {
  // Most commands need no Redis client, which takes its time to load.
  const { Redis: Client } = await import('ioredis');
  const redis = new Client({ ...at, lazyConnect: true, connectTimeout: CONNECT_MS, maxRetriesPerRequest: 0, retryStrategy: () => null });
  let problem: Error | null = null;
  redis.on('error', (error: Error) => {
    problem = error;
  });
  await redis.connect().catch((error: unknown) => {
    redis.disconnect();
    throw refusedBy(at, problem ?? error);
  });
  return redis;
}

/** What a Redis says, or does not say, as an error for people. */
export function refusedBy({ host, port }: Endpoint, reason: unknown): FleetError {
  const text = reason instanceof Error ? reason.message : String(reason);
  return new FleetError('REDIS_REFUSED', { address: `${host}:${port}`, reason: text }, { cause: reason });
}
