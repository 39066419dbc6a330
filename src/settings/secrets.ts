import { hkdfSync, randomBytes } from 'node:crypto';
import { isPlaceholder } from './parse.ts';
import type { Settings } from './schema.ts';

/** Who needs which secrets: a gateway learns those of LiveKit from the first media machine, where they are made. */
export interface SecretsWanted {
  /** Whether an API key and secret may be made up here. */
  readonly makesKeys: boolean;
  /** Whether the room API runs here. */
  readonly hasApi: boolean;
}

/**
 * The secrets that the settings lack: new random API key, secret and room-API token, and the Redis password derived
 * (HKDF-SHA256) from the API secret, so that machines with the same secret agree without another variable. An API key that
 * WEBHOOK_API_KEY names already is the one.
 * The result holds plain text for `.env`; empty where nothing is missing.
 */
export function missingSecrets(settings: Settings, { makesKeys, hasApi }: SecretsWanted): Record<string, string> {
  const found: Record<string, string> = {};
  let secret = settings.LIVEKIT_API_SECRET;
  if (isPlaceholder(secret) && makesKeys) {
    secret = randomBytes(36).toString('base64url');
    found['LIVEKIT_API_KEY'] = isPlaceholder(settings.WEBHOOK_API_KEY) ? `API${randomBytes(9).toString('hex')}` : settings.WEBHOOK_API_KEY;
    found['LIVEKIT_API_SECRET'] = secret;
  }
  if (isPlaceholder(settings.REDIS_PASSWORD) && !isPlaceholder(secret)) found['REDIS_PASSWORD'] = deriveRedisPassword(secret);
  if (hasApi && isPlaceholder(settings.SERVICE_API_TOKEN)) found['SERVICE_API_TOKEN'] = randomBytes(32).toString('base64url');
  return found;
}

/** 43 base64url characters, the same for the same API secret. */
export function deriveRedisPassword(apiSecret: string): string {
  return Buffer.from(hkdfSync('sha256', apiSecret, 'livekit-fleet', 'redis-password', 32)).toString('base64url');
}
