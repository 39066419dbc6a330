import * as z from 'zod';
import { parseJson } from '../kernel/parse-json.ts';
import { sendRequest } from './http-request.ts';
import { signAccessToken } from './livekit-token.ts';
import type { VideoGrant } from './livekit-token.ts';

/** LiveKit answers at once, or waits 3 s for a node that is gone. */
const TIMEOUT_MS = 5_000;
/** A call's token is used at once. */
const TOKEN_SECONDS = 60;

/** LiveKit's server API for rooms, as far as it is used here; every method rejects with LivekitError or Node's error of the connection. */
export interface LivekitRooms {
  createRoom(room: {
    name: string;
    maxParticipants: number;
    emptyTimeout?: number | undefined;
    /** Seconds that the room stays when the last one has left. */
    departureTimeout?: number | undefined;
    metadata?: string | undefined;
  }): Promise<{ createdAtMs: number }>;
  /** Everyone has to leave. Rejects with code `not_found` where there is no such room. */
  deleteRoom(room: string): Promise<void>;
  listRooms(): Promise<LivekitRoom[]>;
  updateMetadata(room: string, metadata: string): Promise<void>;
  listParticipants(room: string): Promise<LivekitParticipant[]>;
  /** Changes what is named. Rejects with code `not_found` where the participant is not in the room; so do the others. */
  updateParticipant(
    room: string,
    identity: string,
    change: { name?: string | undefined; metadata?: string | undefined; permission?: Permission | undefined },
  ): Promise<void>;
  muteTrack(room: string, identity: string, track: { trackSid: string; muted: boolean }): Promise<void>;
  /** @param message.data base64; @param message.identities none: everyone */
  sendData(room: string, message: { data: string; topic?: string | undefined; reliable: boolean; identities: readonly string[] }): Promise<void>;
  removeParticipant(room: string, identity: string): Promise<void>;
}

export interface Permission {
  readonly canPublish: boolean;
  readonly canSubscribe: boolean;
  readonly canPublishData: boolean;
  /** LiveKit's TrackSource names; all where absent. */
  readonly canPublishSources?: readonly string[];
}

/** Who is in a room (livekit/protocol, ParticipantInfo). */
export type LivekitParticipant = z.infer<typeof participantSchema>;

/** A room that LiveKit has, also one whose node is gone. */
export interface LivekitRoom {
  readonly name: string;
  readonly createdAtMs: number;
  readonly numParticipants: number;
}

/** LiveKit's own refusal: Twirp's error code and HTTP status. */
export class LivekitError extends Error {
  override readonly name = 'LivekitError';
  readonly code: string;
  readonly status: number;

  constructor(code: string, status: number, message: string) {
    super(message);
    this.code = code;
    this.status = status;
  }
}

/** LiveKit's Twirp answers with protobuf's names, and leaves out what is empty. */
const participantSchema = z.object({
  sid: z.string(),
  identity: z.string(),
  name: z.string().default(''),
  metadata: z.string().default(''),
  state: z.string().default('JOINING'),
  joined_at: z.coerce.number().optional(),
  joinedAt: z.coerce.number().default(0),
  tracks: z.array(z.object({ sid: z.string(), source: z.string().default('UNKNOWN'), muted: z.boolean().default(false) })).default([]),
});
const participantsSchema = z.object({ participants: z.array(participantSchema).default([]) });
const roomsSchema = z.object({
  rooms: z.array(z.looseObject({ name: z.string(), num_participants: z.number().optional(), numParticipants: z.number().default(0) })).default([]),
});
const muteSchema = z.object({ track: z.object({}) });
const refusalSchema = z.object({ code: z.string(), msg: z.string() });
/** protobuf's JSON writes 64-bit numbers as strings, and names in either of its two spellings. */
const roomSchema = z.union([
  z
    .object({ creation_time: z.coerce.number(), creation_time_ms: z.coerce.number().default(0) })
    .transform((room) => room.creation_time_ms || room.creation_time * 1000),
  z
    .object({ creationTime: z.coerce.number(), creationTimeMs: z.coerce.number().default(0) })
    .transform((room) => room.creationTimeMs || room.creationTime * 1000),
]);

/** Calls LiveKit's Twirp API as JSON (docs.livekit.io, "Server APIs"); @param options.now milliseconds since 1970 */
export function openLivekitRooms(options: { apiUrl: string; apiKey: string; secret: string; now: () => number }): LivekitRooms {
  const { apiUrl, apiKey, secret, now } = options;

  async function call(method: string, grant: VideoGrant, body: unknown): Promise<unknown> {
    const token = signAccessToken(grant, { apiKey, secret, nowMs: now(), ttlSeconds: TOKEN_SECONDS });
    const answer = await sendRequest({
      url: `${apiUrl}/twirp/livekit.RoomService/${method}`,
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${token}` },
      body: JSON.stringify(body),
      timeoutMs: TIMEOUT_MS,
    });
    if (answer.status === 200) return parseJson(z.unknown(), answer.text);
    const refusal = parseJson(refusalSchema, answer.text) ?? { code: 'unknown', msg: `HTTP ${answer.status}` };
    throw new LivekitError(refusal.code, answer.status, refusal.msg);
  }

  return {
    async createRoom({ name, maxParticipants, emptyTimeout, departureTimeout, metadata }) {
      const wanted = { name, maxParticipants, emptyTimeout, departureTimeout, metadata };
      return { createdAtMs: roomSchema.parse(await call('CreateRoom', { roomCreate: true }, wanted)) };
    },
    async deleteRoom(room) {
      await call('DeleteRoom', { roomCreate: true }, { room });
    },
    async listRooms() {
      const { rooms } = roomsSchema.parse(await call('ListRooms', { roomList: true }, {}));
      return rooms.map((room) => ({
        name: room.name,
        createdAtMs: roomSchema.parse(room),
        numParticipants: room.num_participants ?? room.numParticipants,
      }));
    },
    async updateMetadata(room, metadata) {
      await call('UpdateRoomMetadata', { roomAdmin: true, room }, { room, metadata });
    },
    async listParticipants(room) {
      return participantsSchema.parse(await call('ListParticipants', { roomAdmin: true, room }, { room })).participants;
    },
    async updateParticipant(room, identity, change) {
      await call('UpdateParticipant', { roomAdmin: true, room }, { room, identity, ...change });
    },
    async muteTrack(room, identity, { trackSid, muted }) {
      const answer = await call('MutePublishedTrack', { roomAdmin: true, room }, { room, identity, track_sid: trackSid, muted });
      // LiveKit answers 200 without a track where there is none of this sid (1.13).
      if (!muteSchema.safeParse(answer).success) throw new LivekitError('not_found', 404, `no track ${trackSid}`);
    },
    async sendData(room, { data, topic, reliable, identities }) {
      const kind = reliable ? 'RELIABLE' : 'LOSSY';
      await call('SendData', { roomAdmin: true, room }, { room, data, kind, topic, destination_identities: identities });
    },
    async removeParticipant(room, identity) {
      await call('RemoveParticipant', { roomAdmin: true, room }, { room, identity });
    },
  };
}
