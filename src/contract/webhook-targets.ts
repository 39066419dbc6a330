import * as z from 'zod';
import { parseJson } from '../kernel/parse-json.ts';

/** Redis string: where webhooks go, as JSON; written by the gateway machine. */
export const WEBHOOKS_KEY = 'fleet:webhooks';

/** Redis string: the gateway machine whose word that is; another one takes over once it is silent. */
export const ANNOUNCER_KEY = 'fleet:webhook-announcer';

const webhookTargetsSchema = z.object({
  /** Every event goes to each of them; none where webhooks are turned off. */
  urls: z.array(z.url({ protocol: /^https?$/ })),
  /** The name under which the gateway serves. */
  domain: z.string().min(1),
  /** The gateway machine as Redis sees it: media machines may have no DNS that knows the domain. Null where it is on the same machine. */
  gatewayAddress: z.union([z.ipv4(), z.ipv6()]).nullable(),
  /** Root certificate of the gateway's own authority; null where another one vouches for it. */
  caPem: z.string().startsWith('-----BEGIN CERTIFICATE-----').nullable(),
});

/** What the gateway machine says of the webhooks' receivers and of the way to itself. */
export type WebhookTargets = z.infer<typeof webhookTargetsSchema>;

/** Reads the JSON of the Redis string; null where it is none (another version's, or damaged). Throws nothing. */
export function parseWebhookTargets(json: string): WebhookTargets | null {
  return parseJson(webhookTargetsSchema, json);
}
