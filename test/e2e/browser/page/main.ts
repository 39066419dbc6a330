import { Room, RoomEvent } from 'livekit-client';
import type { RemoteTrack } from 'livekit-client';
import type { Received, Seat } from '../seat.ts';

const room = new Room();
const tracks = new Set<RemoteTrack>();
room.on(RoomEvent.TrackSubscribed, (track) => {
  tracks.add(track);
  document.body.append(track.attach());
});

const connections: RTCPeerConnection[] = [];

function narrow(config: RTCConfiguration = {}): RTCConfiguration {
  const servers = (config.iceServers ?? []).map((one) => ({ ...one, urls: [one.urls].flat().filter((url) => url.startsWith('turns:')) }));
  return { ...config, iceTransportPolicy: 'relay', iceServers: servers.filter((one) => one.urls.length > 0) };
}

/** From now on connections know of no way but the TURN servers over TLS that LiveKit names. */
function allowOnlyTls(): void {
  globalThis.RTCPeerConnection = class extends RTCPeerConnection {
    constructor(config?: RTCConfiguration) {
      super(narrow(config));
      connections.push(this);
    }
    override setConfiguration(config?: RTCConfiguration): void {
      super.setConfiguration(narrow(config));
    }
  };
}

/** The numbers of one track that WebRTC's statistics have under these names. */
async function measure(track: RemoteTrack, names: readonly string[]): Promise<number[]> {
  const report = await track.getRTCStatsReport();
  const inbound = [...(report?.values() ?? [])].find((one: { type: string }) => one.type === 'inbound-rtp') as Record<string, unknown> | undefined;
  return names.map((name) => Number(inbound?.[name] ?? 0));
}

const seat: Seat = {
  async enter(url, token, { isOverTls } = { isOverTls: false }) {
    if (isOverTls) allowOnlyTls();
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
  async relayProtocols() {
    const reports = await Promise.all(connections.map((one) => one.getStats()));
    const used = reports.flatMap((report) => {
      const all = [...report.values()] as Array<Record<string, unknown>>;
      const pairs = all.filter((one) => one['type'] === 'candidate-pair' && one['nominated'] === true);
      return pairs.map((pair) => all.find((one) => one['id'] === pair['localCandidateId'])?.['relayProtocol']);
    });
    return [...new Set(used.flatMap((one) => (typeof one === 'string' ? [one] : [])))];
  },
  leave: () => room.disconnect(),
};
Object.assign(globalThis, { seat });
