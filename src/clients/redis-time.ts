import type { Redis } from 'ioredis';

/** Redis's own clock in milliseconds: the one clock that all machines share. */
export async function redisTimeMs(redis: Redis): Promise<number> {
  const [seconds, microseconds] = await redis.time();
  return Number(seconds) * 1000 + Math.floor(Number(microseconds) / 1000);
}
