import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import { sendRequest } from '../../clients/http-request.ts';
import { LivekitError, openLivekitRooms } from '../../clients/livekit-rooms.ts';
import type { LivekitRooms } from '../../clients/livekit-rooms.ts';
import { signAccessToken } from '../../clients/livekit-token.ts';
import type { createRoomSchema, joinRoomSchema, JoinView, RoomView } from '../../contract/rooms.ts';
import type { ServiceConfig } from '../config.ts';
import { redact } from '../../kernel/secret.ts';
import { HttpProblem } from '../problem.ts';
import type { Store } from '../store/store.ts';

/** The use-cases of rooms over the store and LiveKit. */
export interface Rooms {
  create(wanted: z.infer<typeof createRoomSchema>): Promise<RoomView>;
  /** @param isPlain the caller came over plain http, where that is served */
  join(id: string, wanted: z.infer<typeof joinRoomSchema>, isPlain: boolean): Promise<JoinView>;
  leave(id: string, identity: string): Promise<void>;
  read(id: string): RoomView;
}

/** @param deps.now milliseconds since the epoch */
export function createRooms(deps: { config: ServiceConfig; store: Store; now: () => number }): Rooms {
  const { config, store, now } = deps;
  const secret = config.livekitKeys[config.signingKey] ?? '';
  const livekit = openLivekitRooms({ apiUrl: config.livekitApiUrl, apiKey: config.signingKey, secret, now });

  function read(id: string): RoomView {
    const room = store.findRoom(id);
    if (room === null) throw new HttpProblem(404, 'ROOM_NOT_FOUND', `There is no room ${id}`);
    return room;
  }

  return {
    read,
    async create(wanted) {
      if (secret === '') throw new HttpProblem(503, 'LIVEKIT_UNAVAILABLE', 'No media machine has joined yet: see ./部署.sh help join');
      const id = wanted.id ?? `r-${randomUUID()}`;
      const known = store.findRoom(id);
      if (known !== null && known.state !== 'finished') throw roomExists(id);
      const { maxParticipants = 0, emptyTimeout, metadata } = wanted;
      const { createdAtMs: livekitCreatedAtMs } = await asking(() => livekit.createRoom({ name: id, maxParticipants, emptyTimeout, metadata }));
      // Another request may have made the same room while LiveKit was asked.
      if (!store.addRoom({ id, name: wanted.name ?? id, maxParticipants, createdAtMs: now(), livekitCreatedAtMs })) throw roomExists(id);
      return read(id);
    },
    async join(id, wanted, isPlain) {
      if (read(id).state === 'finished') throw new HttpProblem(409, 'ROOM_FINISHED', `Room ${id} has ended`);
      const { identity, name, metadata, canPublish, canSubscribe, canPublishData } = wanted;
      const signer = { apiKey: config.signingKey, secret, nowMs: now(), ttlSeconds: config.tokenTtlSeconds };
      const token = signAccessToken({ roomJoin: true, room: id, canPublish, canSubscribe, canPublishData }, { ...signer, identity, name, metadata });
      return {
        room: id,
        identity,
        url: `${(isPlain ? config.plainUrl : null) ?? config.publicUrl}${await nodePath(config, id)}`,
        token,
        expiresAt: new Date(now() + config.tokenTtlSeconds * 1000).toISOString(),
      };
    },
    async leave(id, identity) {
      read(id);
      await asking(() => removeIfPresent(livekit, id, identity));
    },
  };
}

/** Path of the room's own node from the agent; empty (any node) when the agent does not say within 500 ms. */
async function nodePath(config: ServiceConfig, room: string): Promise<string> {
  if (config.nodeLookupUrl === null) return '';
  try {
    const { text } = await sendRequest({ url: `${config.nodeLookupUrl}/v1/rooms/${encodeURIComponent(room)}/node`, timeoutMs: 500 });
    const answer = z.object({ path: z.string().regex(/^\/n\/[\w-]+$/) }).safeParse(JSON.parse(text));
    return answer.success ? answer.data.path : '';
  } catch (error) {
    if (error instanceof Error) return '';
    throw error;
  }
}

async function removeIfPresent(livekit: LivekitRooms, room: string, identity: string): Promise<void> {
  try {
    await livekit.removeParticipant(room, identity);
  } catch (error) {
    if (!(error instanceof LivekitError && error.code === 'not_found')) throw error;
  }
}

function roomExists(id: string): HttpProblem {
  return new HttpProblem(409, 'ROOM_EXISTS', `Room ${id} exists already`);
}

/** Turns LiveKit's failures into problems: what it refuses as invalid is the caller's mistake, all else means that it cannot serve now. */
async function asking<T>(call: () => Promise<T>): Promise<T> {
  try {
    return await call();
  } catch (error) {
    // LiveKit repeats a token that it refuses.
    const message = redact(error instanceof Error ? error.message : String(error));
    if (error instanceof LivekitError && error.status === 400) throw new HttpProblem(400, 'LIVEKIT_REFUSED', message, { cause: error });
    throw new HttpProblem(503, 'LIVEKIT_UNAVAILABLE', `LiveKit did not do it: ${message}`, { cause: error });
  }
}
