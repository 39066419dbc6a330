import { LivekitError } from '../../clients/livekit-rooms.ts';
import type { LivekitRooms } from '../../clients/livekit-rooms.ts';

/** Ends LiveKit's room. One that does not end: its node did, and LiveKit cannot reach it; made anew it can be ended (livekit/livekit#3766). */
export async function deleteRoom(livekit: Pick<LivekitRooms, 'createRoom' | 'deleteRoom'>, room: string): Promise<void> {
  try {
    await livekit.deleteRoom(room);
  } catch (error) {
    if (!(error instanceof LivekitError) || error.status < 500) throw error;
    await livekit.createRoom({ name: room, maxParticipants: 0 });
    await livekit.deleteRoom(room);
  }
}
