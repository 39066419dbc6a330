import { randomUUID } from 'node:crypto';
import type * as z from 'zod';
import { LivekitError, openLivekitRooms } from '../../clients/livekit-rooms.ts';
import type { LivekitRooms } from '../../clients/livekit-rooms.ts';
import { signAccessToken } from '../../clients/livekit-token.ts';
import type { createRoomSchema, joinRoomSchema, JoinView, RoomView } from '../../contract/rooms.ts';
import type { ServiceConfig } from '../config.ts';
import { redact } from '../../kernel/secret.ts';
import { HttpProblem } from '../problem.ts';
import type { RoomRecord } from '../store/room-rows.ts';
import type { Store } from '../store/store.ts';
import { createNodePaths } from './node-paths.ts';

/** The use-cases of rooms over the store and LiveKit. */
export interface Rooms {
  create(wanted: z.infer<typeof createRoomSchema>): Promise<RoomView>;
  /** @param isPlain the caller came over plain http, where that is served */
  join(id: string, wanted: z.infer<typeof joinRoomSchema>, isPlain: boolean): Promise<JoinView>;
  leave(id: string, identity: string): Promise<void>;
  read(id: string): RoomView;
  list(page: { limit: number; cursor: string | null }): RoomView[];
}

/** @param deps.now milliseconds since the epoch */
export function createRooms(deps: { config: ServiceConfig; store: Store; now: () => number }): Rooms {
  const { config, store, now } = deps;
  const secret = config.livekitKeys[config.signingKey] ?? '';
  const livekit = openLivekitRooms({ apiUrl: config.livekitApiUrl, apiKey: config.signingKey, secret, now });
  const paths = createNodePaths({ lookupUrl: config.nodeLookupUrl, now });
  /** Rooms that LiveKit makes just now, by key. */
  const starting = new Map<number, Promise<void>>();

  function find(id: string): RoomRecord {
    const room = store.findRoom(id);
    if (room === null) throw new HttpProblem(404, 'ROOM_NOT_FOUND', `There is no room ${id}`);
    return room;
  }

  function checkKeys(): void {
    if (secret === '') throw new HttpProblem(503, 'LIVEKIT_UNAVAILABLE', 'No media machine has joined yet: see ./部署.sh help join');
  }

  /** Has LiveKit make the room; who comes meanwhile waits for the same. */
  function start(room: RoomRecord): Promise<void> {
    const under = starting.get(room.key);
    if (under !== undefined) return under;
    const { id: name, maxParticipants, emptyTimeout, metadata } = room;
    const made = asking(() => livekit.createRoom({ name, maxParticipants, emptyTimeout: emptyTimeout ?? undefined, metadata }))
      .then(({ createdAtMs }) => store.noteMade(room.key, createdAtMs))
      .finally(() => starting.delete(room.key));
    starting.set(room.key, made);
    return made;
  }

  return {
    read: (id) => viewOf(find(id)),
    list: (page) => store.listRooms(page).map(viewOf),
    async create(wanted) {
      checkKeys();
      const id = wanted.id ?? `r-${randomUUID()}`;
      const { name = id, type, maxParticipants = 0, emptyTimeout = null, metadata = '' } = wanted;
      const room = await store.addRoom({ id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs: now() });
      if (room === null) throw new HttpProblem(409, 'ROOM_EXISTS', `Room ${id} exists already`);
      if (!wanted.start) return viewOf(room);
      try {
        await start(room);
      } catch (error) {
        await store.takeBack(room);
        throw error;
      }
      return viewOf(find(id));
    },
    async join(id, wanted, isPlain) {
      const room = find(id);
      if (room.state === 'finished') throw new HttpProblem(409, 'ROOM_FINISHED', `Room ${id} has ended`);
      const { identity, name, metadata, canPublish, canSubscribe, canPublishData } = wanted;
      if (room.maxParticipants > 0 && room.numParticipants >= room.maxParticipants && !store.isPresent(room.key, identity))
        throw new HttpProblem(409, 'ROOM_FULL', `Room ${id} has its ${room.maxParticipants} participants`);
      checkKeys();
      if (room.livekitCreatedAtMs === 0) await start(room);
      const signer = { apiKey: config.signingKey, secret, nowMs: now(), ttlSeconds: config.tokenTtlSeconds };
      const token = signAccessToken(
        { roomJoin: true, room: id, canPublish, ...sourcesOf(room, canPublish), canSubscribe, canPublishData },
        { ...signer, identity, name, metadata },
      );
      const path = paths.pathOf(id);
      return {
        room: id,
        identity,
        url: `${(isPlain ? config.plainUrl : null) ?? config.publicUrl}${typeof path === 'string' ? path : await path}`,
        token,
        expiresAt: new Date(signer.nowMs + config.tokenTtlSeconds * 1000).toISOString(),
      };
    },
    async leave(id, identity) {
      find(id);
      await asking(() => removeIfPresent(livekit, id, identity));
    },
  };
}

/** In a voice room nobody shows a picture. */
function sourcesOf({ type }: RoomRecord, canPublish: boolean): { canPublishSources?: string[] } {
  return type === 'voice' && canPublish ? { canPublishSources: ['microphone'] } : {};
}

function viewOf({ id, name, type, maxParticipants, metadata, state, numParticipants, createdAtMs }: RoomRecord): RoomView {
  return { id, name, type, maxParticipants, metadata, state, numParticipants, createdAt: new Date(createdAtMs).toISOString() };
}

async function removeIfPresent(livekit: LivekitRooms, room: string, identity: string): Promise<void> {
  try {
    await livekit.removeParticipant(room, identity);
  } catch (error) {
    if (!(error instanceof LivekitError && error.code === 'not_found')) throw error;
  }
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
