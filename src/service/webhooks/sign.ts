import { createHmac, createSecretKey, randomBytes } from 'node:crypto';
import type { KeyObject } from 'node:crypto';

const PREFIX = 'whsec_';

/** A new secret of 32 bytes, as Standard Webhooks writes it. */
export function makeSecret(): string {
  return `${PREFIX}${randomBytes(32).toString('base64')}`;
}

/** The key that a secret holds. */
export function keyOf(secret: string): KeyObject {
  return createSecretKey(Buffer.from(secret.slice(PREFIX.length), 'base64'));
}

/**
 * The headers of a message (Standard Webhooks 1.0, "Webhook Headers"): one signature of each key.
 * @param message.atMs when this attempt is made, since 1970
 */
export function signedHeaders({ id, body, atMs }: { id: string; body: string; atMs: number }, keys: readonly KeyObject[]): Record<string, string> {
  const seconds = String(Math.floor(atMs / 1000));
  const signatures = keys.map((key) => `v1,${createHmac('sha256', key).update(`${id}.${seconds}.${body}`).digest('base64')}`);
  return { 'webhook-id': id, 'webhook-timestamp': seconds, 'webhook-signature': signatures.join(' ') };
}
