import * as z from 'zod';
import { identitySchema, joinView } from './rooms.ts';

const people = z.array(identitySchema).min(1).max(100);

/** The acting person. */
export const bySchema = z.strictObject({ by: identitySchema });
export const inviteSchema = z.strictObject({ by: identitySchema, invitees: people });
/** `name` and `metadata` are the participant's. */
export const acceptSchema = z.strictObject({ by: identitySchema, name: z.string().max(200).optional(), metadata: z.string().max(16_384).optional() });
/** Without `identities` the call itself. */
export const cancelSchema = z.strictObject({ by: identitySchema, identities: people.optional() });
/** Without `by` the operator ends it. */
export const endSchema = z.strictObject({ by: identitySchema.optional() });
/** GET of a call: `by` sees only what is theirs. */
export const readCallSchema = z.strictObject({ by: identitySchema.optional() });

/** GET /api/v1/calls: the latest first, pages of up to 200, `cursor` from the page before; `by`: calls of this person. */
export const listCallsSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.coerce.number().int().min(1).optional(),
  state: z.enum(['ringing', 'active', 'ended']).optional(),
  by: identitySchema.optional(),
});

const time = z.iso.datetime().nullable();

/** One person of a call. */
export const partyView = z.object({
  identity: z.string(),
  state: z.enum(['ringing', 'accepted', 'joined', 'left', 'rejected', 'missed', 'busy', 'cancelled', 'removed']),
  /** Null for the caller. */
  invitedBy: z.string().nullable(),
  /** The connection is lost and may come back. */
  isAway: z.boolean(),
  /** Till then it rings. */
  ringsUntil: time,
  acceptedAt: time,
  joinedAt: time,
  leftAt: time,
  reason: z.enum(['hung_up', 'lost', 'not_joined', 'removed', 'ended']).nullable(),
});
export type PartyView = z.infer<typeof partyView>;

/** What a call is, without its parties. Its id is its room's. */
export const callHead = z.object({
  id: z.string(),
  name: z.string(),
  type: z.enum(['voice', 'video']),
  metadata: z.string(),
  caller: z.string(),
  mode: z.enum(['direct', 'group']),
  state: z.enum(['ringing', 'active', 'ended']),
  /** Why it ended; `failed`: it was lost, nobody hung up. */
  reason: z.enum(['completed', 'cancelled', 'rejected', 'busy', 'missed', 'failed']).nullable(),
  ringTimeout: z.number(),
  reconnectGrace: z.number(),
  maxParticipants: z.int(),
  createdAt: z.iso.datetime(),
  startedAt: time,
  endedAt: time,
});
export type CallHead = z.infer<typeof callHead>;

/** A call as the API shows it. */
export const callView = callHead.extend({ parties: z.array(partyView) });
export type CallView = z.infer<typeof callView>;

/** GET /api/v1/users/:identity/sync. `join`: where they have accepted, and LiveKit answers. */
export const syncView = z.object({ calls: z.array(z.object({ call: callView, join: joinView.nullable() })) });
export type SyncView = z.infer<typeof syncView>;
