import { Room, RoomEvent } from 'livekit-client';
import type { RemoteTrack } from 'livekit-client';
import type { Received, Seat } from '../seat.ts';

const room = new Room();
const tracks = new Set<RemoteTrack>();
room.on(RoomEvent.TrackSubscribed, (track) => {
  tracks.add(track);
  document.body.append(track.attach());
});

/** The numbers of one track that WebRTC's statistics have under these names. */
async function measure(track: RemoteTrack, names: readonly string[]): Promise<number[]> {
  const report = await track.getRTCStatsReport();
  const inbound = [...(report?.values() ?? [])].find((one: { type: string }) => one.type === 'inbound-rtp') as Record<string, unknown> | undefined;
  return names.map((name) => Number(inbound?.[name] ?? 0));
}

const seat: Seat = {
  async enter(url, token) {
    await room.connect(url, token);
    await room.localParticipant.enableCameraAndMicrophone();
  },
  others: () => [...room.remoteParticipants.values()].map(({ identity }) => identity),
  async received() {
    let sum: Received = { videoBytes: 0, videoFrames: 0, audioBytes: 0, audioEnergy: 0 };
    for (const track of tracks) {
      if (track.kind === 'video') {
        const [bytes = 0, frames = 0] = await measure(track, ['bytesReceived', 'framesDecoded']);
        sum = { ...sum, videoBytes: sum.videoBytes + bytes, videoFrames: sum.videoFrames + frames };
      } else {
        const [bytes = 0, energy = 0] = await measure(track, ['bytesReceived', 'totalAudioEnergy']);
        sum = { ...sum, audioBytes: sum.audioBytes + bytes, audioEnergy: sum.audioEnergy + energy };
      }
    }
    return sum;
  },
  leave: () => room.disconnect(),
};
Object.assign(globalThis, { seat });
