import * as z from 'zod';

/** Names that LiveKit, URLs and logs all take as they are. */
const name = z.string().regex(/^[\w.:@-]{1,128}$/u);

/** A room's own id; `.` and `..` are path steps in a URL. */
export const roomIdSchema = name.refine((id) => id !== '.' && id !== '..', { message: 'is a path step' });

/** POST /api/v1/rooms. `emptyTimeout` in seconds. LiveKit makes the room when somebody joins it; with `start` at once. */
export const createRoomSchema = z.strictObject({
  id: roomIdSchema.optional(),
  name: z.string().max(200).optional(),
  maxParticipants: z.int().min(0).max(10_000).optional(),
  emptyTimeout: z.int().min(1).max(86_400).optional(),
  metadata: z.string().max(16_384).optional(),
  type: z.enum(['voice', 'video']).default('video'),
  start: z.boolean().default(false),
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

/** POST /api/v1/rooms/:id/leave. */
export const leaveRoomSchema = z.strictObject({ identity: name });

/** GET /api/v1/rooms: pages of up to 200, `cursor` from the page before. */
export const listRoomsSchema = z.strictObject({ limit: z.coerce.number().int().min(1).max(200).default(50), cursor: z.string().max(200).optional() });

/** A room as the API shows it. */
export interface RoomView {
  readonly id: string;
  readonly name: string;
  readonly type: 'voice' | 'video';
  readonly metadata: string;
  /** 0: as many as come. */
  readonly maxParticipants: number;
  readonly state: 'new' | 'live' | 'finished';
  readonly numParticipants: number;
  readonly createdAt: string;
}

/** What a client needs to enter a room. */
export interface JoinView {
  readonly room: string;
  readonly identity: string;
  readonly url: string;
  readonly token: string;
  readonly expiresAt: string;
}

/** A stored webhook event of a room. */
export interface EventView {
  readonly id: string;
  /** LiveKit's name of it, such as `participant_joined`. */
  readonly event: string;
  readonly identity: string | null;
  readonly receivedAt: string;
}
