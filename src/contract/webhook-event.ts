import * as z from 'zod';
import { parseJson } from '../kernel/parse-json.ts';

/** Since 1970; 0 where it is not said. */
const seconds = z.coerce.number().pipe(z.int().min(0)).catch(0);

/**
 * What of LiveKit's webhook (livekit/protocol, `WebhookEvent` as protobuf's JSON, which leaves out what is empty) the agent and
 * the service rely on. Both take the same, so that the service never refuses what the agent took.
 */
const eventSchema = z.object({
  id: z.string().min(1),
  event: z.string().default(''),
  createdAt: seconds,
  room: z
    .object({
      sid: z.string().default('').catch(''),
      name: z.string().default(''),
      creationTime: z.coerce.number().optional(),
      creationTimeMs: z.coerce.number().optional(),
    })
    .nullish(),
  participant: z
    .looseObject({
      identity: z.string().default(''),
      sid: z.string().default(''),
      name: z.string().optional().catch(undefined),
      joinedAt: seconds,
      disconnectReason: z.string().optional().catch(undefined),
    })
    .nullish(),
  egressInfo: z.object({ roomName: z.string().optional() }).nullish(),
  ingressInfo: z.object({ roomName: z.string().optional() }).nullish(),
});

export type WebhookEvent = z.infer<typeof eventSchema>;

/** The event in a webhook's raw body, or the text of it; null where it is none. */
export function parseWebhookEvent(body: Uint8Array | string): WebhookEvent | null {
  return parseJson(eventSchema, typeof body === 'string' ? body : Buffer.from(body.buffer, body.byteOffset, body.byteLength).toString('utf8'));
}
