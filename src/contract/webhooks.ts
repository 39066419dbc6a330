import * as z from 'zod';

/** `*`: all but LiveKit's own; `room.*`: all of a subject; or a type. */
const filter = z.string().regex(/^(\*|[a-z][a-z0-9_]{0,40}\.(\*|[a-z0-9_]{1,60}))$/);

/** As the Standard Webhooks specification has it: `whsec_` and the base64 of 24 to 64 bytes. */
const secret = z
  .string()
  .regex(/^whsec_[A-Za-z0-9+/]{32,88}={0,2}$/)
  .refine((text) => {
    const { length } = Buffer.from(text.slice('whsec_'.length), 'base64');
    return length >= 24 && length <= 64;
  }, 'is not 24 to 64 bytes');

const url = z
  .url({ protocol: /^https?$/ })
  .max(2_048)
  .refine((text) => {
    const { username, password } = URL.parse(text) ?? { username: '', password: '' };
    return username === '' && password === '';
  }, 'holds credentials');

const fields = {
  url,
  description: z.string().max(200),
  events: z.array(filter).min(1).max(50),
  /** For an answer to one message, from connecting on. */
  timeoutMs: z.int().min(500).max(30_000),
  enabled: z.boolean(),
};

/** POST /api/v1/webhooks. Without a secret one is made. */
export const createWebhookSchema = z.strictObject({
  url: fields.url,
  description: fields.description.default(''),
  events: fields.events.default(['*']),
  secret: secret.optional(),
  timeoutMs: fields.timeoutMs.default(10_000),
  enabled: fields.enabled.default(true),
});

/** PATCH /api/v1/webhooks/:id. */
export const updateWebhookSchema = z.strictObject({
  url: fields.url.optional(),
  description: fields.description.optional(),
  events: fields.events.optional(),
  timeoutMs: fields.timeoutMs.optional(),
  enabled: fields.enabled.optional(),
});

/** POST …/rotate: for so many hours messages bear signatures of both secrets. */
export const rotateSecretSchema = z.strictObject({ secret: secret.optional(), overlapHours: z.int().min(0).max(168).default(24) });

/** POST …/replay: dead letters by their number; all where absent. */
export const replaySchema = z.strictObject({ letters: z.array(z.int().min(1)).min(1).max(500).optional() });

/** GET …/dead-letters: pages of up to 200, the oldest first, `cursor` from the page before. */
export const listDeadLettersSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.coerce.number().int().min(1).optional(),
});

/** An endpoint as the API shows it: never its secret. `failingSince`: nothing has reached it since. */
export const webhookView = z.object({
  id: z.string(),
  url: z.string(),
  description: z.string(),
  events: z.array(z.string()),
  timeoutMs: z.int(),
  enabled: z.boolean(),
  /** `gone`: it answered 410. */
  disabledReason: z.string().nullable(),
  createdAt: z.iso.datetime(),
  formerSecretUntil: z.iso.datetime().nullable(),
  failingSince: z.iso.datetime().nullable(),
  lastError: z.string().nullable(),
  /** Messages that wait for it, and that it did not take in time. */
  waiting: z.int(),
  dead: z.int(),
});
export type WebhookView = z.infer<typeof webhookView>;

/** The answer that shows a secret, once. */
export const secretView = webhookView.extend({ secret: z.string() });
export type SecretView = z.infer<typeof secretView>;

/** A message that an endpoint did not take in time. `message` is its `webhook-id`. */
export const deadLetterView = z.object({
  letter: z.int(),
  message: z.string(),
  type: z.string(),
  room: z.string(),
  queuedAt: z.iso.datetime(),
  diedAt: z.iso.datetime(),
  attempts: z.int(),
  error: z.string(),
  payload: z.record(z.string(), z.unknown()),
});
export type DeadLetterView = z.infer<typeof deadLetterView>;

/** What an endpoint answered to a test message; `status` 0: nothing, `error` says why. */
export const testView = z.object({ ok: z.boolean(), message: z.string(), status: z.int(), ms: z.int(), error: z.string().nullable() });
export type TestView = z.infer<typeof testView>;
