import { hash, randomUUID } from 'node:crypto';
import type * as z from 'zod';
import { openLivekitRooms } from '../../clients/livekit-rooms.ts';
import { signAccessToken } from '../../clients/livekit-token.ts';
import type { createRoomSchema, joinRoomSchema, JoinView, RoomView, updateRoomSchema } from '../../contract/rooms.ts';
import type { ServiceConfig } from '../config.ts';
import { HttpProblem } from '../problem.ts';
import type { RoomPage, RoomRecord } from '../store/room-rows.ts';
import type { Store } from '../store/store.ts';
import { admit, checkAdmission, hangUp, keepsRoomFor } from '../calls/admission.ts';
import { asking, askingOf } from './asking.ts';
import { deleteRoom } from './delete-room.ts';
import { createParticipants } from './participants.ts';
import type { Participants } from './participants.ts';
import { createNodePaths } from './node-paths.ts';

type WantedRoom = Omit<z.infer<typeof createRoomSchema>, 'caller' | 'invitees' | 'mode' | 'ringTimeout' | 'reconnectGrace' | 'busy'>;

/** The use-cases of rooms over the store and LiveKit. */
export interface Rooms {
  /** @param idempotencyKey the same request with the same key, within a day, makes no second room */
  create(wanted: WantedRoom, idempotencyKey?: string): Promise<RoomView>;
  update(id: string, wanted: z.infer<typeof updateRoomSchema>): Promise<RoomView>;
  /** Everyone has to leave, and nobody can join any more. */
  end(id: string): Promise<void>;
  /** @param isPlain the caller came over plain http, where that is served */
  join(id: string, wanted: z.infer<typeof joinRoomSchema>, isPlain: boolean): Promise<JoinView>;
  /** As `join`, of who may enter this room. */
  enter(room: RoomRecord, wanted: z.infer<typeof joinRoomSchema>, isPlain: boolean): Promise<JoinView>;
  leave(id: string, identity: string): Promise<void>;
  /** Ends in LiveKit what the bearer of a former token has opened anew after the API had ended it; true where that was so. */
  closeReopened(id: string, livekitCreatedAtMs: number): Promise<boolean>;
  read(id: string): Promise<RoomView>;
  list(page: RoomPage): Promise<RoomView[]>;
  readonly participants: Participants;
}

/** @param deps.now milliseconds since the epoch */
export function createRooms(deps: { config: ServiceConfig; store: Store; now: () => number }): Rooms {
  const { config, store, now } = deps;
  const secret = config.livekitKeys[config.signingKey] ?? '';
  const livekit = openLivekitRooms({ apiUrl: config.livekitApiUrl, apiKey: config.signingKey, secret, now });
  const paths = createNodePaths({ lookupUrl: config.nodeLookupUrl, now });
  /** Rooms that LiveKit makes just now, by key. */
  const starting = new Map<number, Promise<void>>();

  async function find(id: string): Promise<RoomRecord> {
    const room = await store.findRoom(id);
    if (room === null) throw new HttpProblem('ROOM_NOT_FOUND', { id });
    return room;
  }

  async function findOpen(id: string): Promise<RoomRecord> {
    const room = await find(id);
    if (room.state === 'finished') throw new HttpProblem('ROOM_FINISHED', { id });
    return room;
  }

  function checkKeys(): void {
    if (secret === '') throw new HttpProblem('NO_MEDIA_MACHINE');
  }

  /** Has LiveKit make the room; who comes meanwhile waits for the same. */
  function start(room: RoomRecord): Promise<void> {
    const under = starting.get(room.key);
    if (under !== undefined) return under;
    const { id: name, maxParticipants, emptyTimeout, metadata } = room;
    const make = async (): Promise<{ createdAtMs: number }> => {
      const timeouts = room.isCall ? await keepsRoomFor(store, room) : { emptyTimeout: emptyTimeout ?? undefined };
      return livekit.createRoom({ name, maxParticipants, ...timeouts, metadata });
    };
    const made = asking(make)
      .then(({ createdAtMs }) => store.noteMade(room.key, createdAtMs))
      .finally(() => starting.delete(room.key));
    starting.set(room.key, made);
    return made;
  }

  async function enter(room: RoomRecord, wanted: z.infer<typeof joinRoomSchema>, isPlain: boolean): Promise<JoinView> {
    const { identity, name, metadata, canPublish, canSubscribe, canPublishData } = wanted;
    checkKeys();
    if (room.livekitCreatedAtMs === 0) await start(room);
    const signer = { apiKey: config.signingKey, secret, nowMs: now(), ttlSeconds: config.tokenTtlSeconds };
    const token = signAccessToken(
      { roomJoin: true, room: room.id, canPublish, ...sourcesOf(room, canPublish), canSubscribe, canPublishData },
      { ...signer, identity, name, metadata },
    );
    const path = paths.pathOf(room.id);
    return {
      room: room.id,
      identity,
      url: `${(isPlain ? config.plainUrl : null) ?? config.publicUrl}${typeof path === 'string' ? path : await path}`,
      token,
      expiresAt: new Date(signer.nowMs + config.tokenTtlSeconds * 1000).toISOString(),
    };
  }

  return {
    read: async (id) => viewOf(await find(id)),
    list: async (page) => (await store.listRooms(page)).map(viewOf),
    participants: createParticipants({ livekit, find }),
    async update(id, wanted) {
      const room = await findOpen(id);
      const { name = room.name, metadata = room.metadata } = wanted;
      // LiveKit tells those who are in; of a room that it has not made it is told then.
      if (room.livekitCreatedAtMs > 0 && metadata !== room.metadata) await askingOf(() => livekit.updateMetadata(id, metadata));
      await store.changeRoom(room.key, { name, metadata });
      return viewOf({ ...room, name, metadata });
    },
    async end(id) {
      const room = await find(id);
      if (room.state === 'finished') {
        // Who still has a token may have opened anew what LiveKit ended by itself.
        if (room.livekitCreatedAtMs > 0 && room.finishReason !== 'ended') await askingOf(() => deleteRoom(livekit, id));
        return;
      }
      // With its call; LiveKit's room then ends as after every call.
      if (room.isCall) return void (await store.calls.act(id, { kind: 'end', by: null }, now()));
      await starting.get(room.key)?.catch(() => undefined);
      if ((await find(id)).livekitCreatedAtMs > 0) {
        // LiveKit's webhook may be the first to say that it is over.
        await store.noteEnding(room.key, 'ended');
        try {
          await askingOf(() => deleteRoom(livekit, room.id));
        } catch (error) {
          await store.noteEnding(room.key, null);
          throw error;
        }
      }
      await store.finishRoom(room.key, now(), 'ended');
    },
    async closeReopened(id, livekitCreatedAtMs) {
      const room = await store.findRoom(id);
      // A room that is only about to end may live on.
      if (room?.state !== 'finished' || room.finishReason !== 'ended' || livekitCreatedAtMs <= room.livekitCreatedAtMs) return false;
      await askingOf(() => deleteRoom(livekit, room.id));
      return true;
    },
    async create(wanted, idempotencyKey) {
      checkKeys();
      const id = wanted.id ?? `r-${randomUUID()}`;
      const { name = id, type, maxParticipants = 0, emptyTimeout = null, metadata = '' } = wanted;
      const asked = { id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs: now() };
      const room = await (idempotencyKey === undefined ? store.addRoom(asked) : store.addRoomOnce(asked, { key: idempotencyKey, request: hashOf(wanted) }));
      if (room === 'mismatch') throw new HttpProblem('IDEMPOTENCY_MISMATCH', { key: idempotencyKey ?? '' });
      if (room === null) throw new HttpProblem('ROOM_EXISTS', { id });
      if (!wanted.start || room.livekitCreatedAtMs > 0) return viewOf(room);
      try {
        await start(room);
      } catch (error) {
        await store.takeBack(room);
        throw error;
      }
      return viewOf(await find(id));
    },
    enter,
    async join(id, wanted, isPlain) {
      const room = await findOpen(id);
      const { identity } = wanted;
      if (room.isCall) await checkAdmission(store, id, { by: identity, nowMs: now() });
      else if (room.maxParticipants > 0 && room.numParticipants >= room.maxParticipants && !(await store.isPresent(room.key, identity)))
        throw new HttpProblem('ROOM_FULL', { id, max: room.maxParticipants });
      const answer = await enter(room, wanted, isPlain);
      // It rings on while LiveKit cannot take them.
      if (room.isCall) await admit(store, room, { by: identity, nowMs: now() });
      return answer;
    },
    async leave(id, identity) {
      if ((await find(id)).isCall) await hangUp(store, id, { by: identity, nowMs: now() });
      else await askingOf(() => livekit.removeParticipant(id, identity));
    },
  };
}

/** By which a request that comes again is known. */
function hashOf(wanted: WantedRoom): string {
  return hash('sha256', JSON.stringify(wanted), 'hex');
}

/** In a voice room nobody shows a picture. */
function sourcesOf({ type }: RoomRecord, canPublish: boolean): { canPublishSources?: string[] } {
  return type === 'voice' && canPublish ? { canPublishSources: ['microphone'] } : {};
}

function viewOf({ id, name, type, isCall, maxParticipants, metadata, state, numParticipants, createdAtMs }: RoomRecord): RoomView {
  return { id, name, type, isCall, maxParticipants, metadata, state, numParticipants, createdAt: new Date(createdAtMs).toISOString() };
}
