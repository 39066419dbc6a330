import * as z from 'zod';

/** Names that LiveKit, URLs and logs all take as they are. */
const name = z.string().regex(/^[\w.:@-]{1,128}$/u);

/** A room's own id; `.` and `..` are path steps in a URL. */
export const roomIdSchema = name.refine((id) => id !== '.' && id !== '..', { message: 'is a path step' });

/** Whom a request is about. */
export const identitySchema = name;

const roomFields = {
  id: roomIdSchema.optional(),
  name: z.string().max(200).optional(),
  maxParticipants: z.int().min(0).max(10_000).optional(),
  emptyTimeout: z.int().min(1).max(86_400).optional(),
  metadata: z.string().max(16_384).optional(),
  type: z.enum(['voice', 'video']).default('video'),
};
/** `ringTimeout` and `reconnectGrace` (how long who loses the connection may be away) in seconds. */
const callFields = {
  caller: name,
  invitees: z.array(name).min(1).max(100),
  /** A `direct` call of two ends when one of them leaves. Where absent, a call of two is one. */
  mode: z.enum(['direct', 'group']).optional(),
  ringTimeout: z.int().min(5).max(600).optional(),
  reconnectGrace: z.int().min(0).max(600).optional(),
  /** What an invitee gets who is in another call. */
  busy: z.enum(['reject', 'ring']).optional(),
};

/**
 * POST /api/v1/rooms. `emptyTimeout` in seconds. LiveKit makes the room when somebody joins it; with `start` at once.
 * A room with `invitees` is a call (see `createCallSchema`).
 */
export const createRoomSchema = z
  .strictObject({ ...roomFields, start: z.boolean().default(false), ...z.object(callFields).partial().shape })
  .refine((room) => !Object.keys(callFields).some((field) => field in room) || (room.caller !== undefined && room.invitees !== undefined), {
    path: ['invitees'],
    message: 'a call has a caller and invitees',
  })
  .refine(({ start, invitees }) => !start || invitees === undefined, { path: ['start'], message: 'LiveKit makes a call’s room when somebody enters' });

/** POST /api/v1/calls. `maxParticipants` counts who is in and who is asked. */
export const createCallSchema = z
  .strictObject({ ...roomFields, ...callFields })
  .refine(({ caller, invitees }) => invitees.some((one) => one !== caller), { path: ['invitees'], message: 'nobody but the caller' })
  .refine(({ caller, invitees, maxParticipants = 0 }) => maxParticipants === 0 || new Set([caller, ...invitees]).size <= maxParticipants, {
    path: ['maxParticipants'],
    message: 'less than the caller and the invitees',
  });

/** POST /api/v1/rooms/:id/join. */
export const joinRoomSchema = z.strictObject({
  identity: name,
  name: z.string().max(200).optional(),
  metadata: z.string().max(16_384).optional(),
  canPublish: z.boolean().default(true),
  canSubscribe: z.boolean().default(true),
  canPublishData: z.boolean().default(true),
});

/** What may be changed while a room is not finished. */
export const updateRoomSchema = z.strictObject({ name: z.string().max(200).optional(), metadata: z.string().max(16_384).optional() });

/** POST /api/v1/rooms/:id/leave. */
export const leaveRoomSchema = z.strictObject({ identity: name });

/** PATCH of a participant. */
export const updateParticipantSchema = z.strictObject({
  name: z.string().max(200).optional(),
  metadata: z.string().max(16_384).optional(),
  permission: z.strictObject({ canPublish: z.boolean(), canSubscribe: z.boolean(), canPublishData: z.boolean() }).optional(),
});

/** POST …/participants/:identity/mute. */
export const muteSchema = z.strictObject({ trackSid: z.string().regex(/^[\w-]{1,64}$/), muted: z.boolean() });

/** POST /api/v1/rooms/:id/data; `data` is base64. LiveKit sends some 15 KiB at most. */
export const sendDataSchema = z.strictObject({
  data: z.base64().max(20_000),
  topic: z.string().max(200).optional(),
  reliable: z.boolean().default(true),
  identities: z.array(name).max(100).default([]),
});

/** GET /api/v1/rooms: pages of up to 200, `cursor` from the page before. */
export const listRoomsSchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.string().max(200).optional(),
  state: z.enum(['new', 'live', 'finished']).optional(),
  type: z.enum(['voice', 'video']).optional(),
});

/** A room as the API shows it. `maxParticipants` 0: as many as come; `numParticipants` by LiveKit's webhooks. */
export const roomView = z.object({
  id: z.string(),
  name: z.string(),
  type: z.enum(['voice', 'video']),
  /** It has invitees: see /calls. */
  isCall: z.boolean(),
  metadata: z.string(),
  maxParticipants: z.int(),
  state: z.enum(['new', 'live', 'finished']),
  numParticipants: z.int(),
  createdAt: z.iso.datetime(),
});
export type RoomView = z.infer<typeof roomView>;

/** What a client needs to enter a room. */
export const joinView = z.object({ room: z.string(), identity: z.string(), url: z.string(), token: z.string(), expiresAt: z.iso.datetime() });
export type JoinView = z.infer<typeof joinView>;

/** A stored webhook event of a room; `event` is LiveKit's name of it, such as `participant_joined`. `isMadeUp`: LiveKit did not send it, it follows from what LiveKit says of its rooms. */
export const eventView = z.object({ id: z.string(), event: z.string(), identity: z.string().nullable(), receivedAt: z.iso.datetime(), isMadeUp: z.boolean() });
export type EventView = z.infer<typeof eventView>;

/** Somebody who is in a room, as LiveKit says at the moment of the question. */
export const participantView = z.object({
  sid: z.string(),
  identity: z.string(),
  name: z.string(),
  metadata: z.string(),
  state: z.string(),
  joinedAt: z.iso.datetime(),
  tracks: z.array(z.object({ sid: z.string(), source: z.string(), muted: z.boolean() })),
});
export type ParticipantView = z.infer<typeof participantView>;

/** GET /api/v1/history: pages of up to 200, `cursor` from the page before; `room` is an id. */
export const historySchema = z.strictObject({
  limit: z.coerce.number().int().min(1).max(200).default(50),
  cursor: z.coerce.number().int().min(1).optional(),
  room: roomIdSchema.optional(),
});

/** A room that has ended. `reason`: `ended` by the API, `empty`, or `unused`: nobody joined within a day; a participant's is LiveKit's DisconnectReason. Null where it is not known. */
export const pastRoomView = z.object({
  id: z.string(),
  name: z.string(),
  type: z.enum(['voice', 'video']),
  createdAt: z.iso.datetime(),
  finishedAt: z.iso.datetime(),
  reason: z.string().nullable(),
  participants: z.array(
    z.object({
      identity: z.string(),
      name: z.string(),
      joinedAt: z.iso.datetime().nullable(),
      leftAt: z.iso.datetime().nullable(),
      seconds: z.int().nullable(),
      reason: z.string().nullable(),
    }),
  ),
});
export type PastRoomView = z.infer<typeof pastRoomView>;
