import type * as z from 'zod';
import type { LivekitParticipant, LivekitRooms, Permission } from '../../clients/livekit-rooms.ts';
import type { muteSchema, ParticipantView, sendDataSchema, updateParticipantSchema } from '../../contract/rooms.ts';
import { HttpProblem } from '../problem.ts';
import type { RoomRecord } from '../store/room-rows.ts';
import { askingOf } from './asking.ts';

/** The use-cases of who is in a room; LiveKit knows that and does it. All throw HttpProblem. */
export interface Participants {
  list(room: string): Promise<ParticipantView[]>;
  remove(room: string, identity: string): Promise<void>;
  update(room: string, identity: string, change: z.infer<typeof updateParticipantSchema>): Promise<void>;
  mute(room: string, identity: string, track: z.infer<typeof muteSchema>): Promise<void>;
  send(room: string, message: z.infer<typeof sendDataSchema>): Promise<void>;
}

/** @param deps.find throws where there is no such room */
export function createParticipants({ livekit, find }: { livekit: LivekitRooms; find: (id: string) => Promise<RoomRecord> }): Participants {
  /** A room that LiveKit has not made, or has ended, has nobody in it. */
  const inRoom = async (room: string, identity: string, call: () => Promise<void>): Promise<void> => {
    await find(room);
    const done = await askingOf(async () => {
      await call();
      return true;
    });
    if (done === null) throw new HttpProblem('PARTICIPANT_NOT_FOUND', { identity, room });
  };
  return {
    async list(room) {
      return (await find(room)).livekitCreatedAtMs === 0 ? [] : ((await askingOf(() => livekit.listParticipants(room))) ?? []).map(toView);
    },
    remove: (room, identity) => inRoom(room, identity, () => livekit.removeParticipant(room, identity)),
    async update(room, identity, { permission, ...change }) {
      const record = await find(room);
      await inRoom(room, identity, () => livekit.updateParticipant(room, identity, { ...change, permission: permission && permissionIn(record, permission) }));
    },
    mute: (room, identity, track) => inRoom(room, identity, () => livekit.muteTrack(room, identity, track)),
    async send(room, message) {
      // Of a room that it does not have, LiveKit says after a while that no node answers; there is nobody to hear it.
      const { livekitCreatedAtMs, state } = await find(room);
      if (livekitCreatedAtMs > 0 && state !== 'finished') await askingOf(() => livekit.sendData(room, message));
    },
  };
}

function toView({ sid, identity, name, metadata, state, joined_at, joinedAt, tracks }: LivekitParticipant): ParticipantView {
  return { sid, identity, name, metadata, state: state.toLowerCase(), joinedAt: new Date((joined_at ?? joinedAt) * 1000).toISOString(), tracks };
}

/** In a voice room nobody shows a picture. */
function permissionIn({ type }: RoomRecord, permission: Permission): Permission {
  return type === 'voice' && permission.canPublish ? { ...permission, canPublishSources: ['MICROPHONE'] } : permission;
}
