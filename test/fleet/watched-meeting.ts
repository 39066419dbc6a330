import { setTimeout as sleep } from 'node:timers/promises';
import { AudioStream, ContinualGatheringPolicy, IceTransportType, Room, RoomEvent, TrackKind } from '@livekit/rtc-node';
import type { RemoteTrack } from '@livekit/rtc-node';
import { roomApi } from '../../src/meeting/api.ts';
import { publishTone } from '../../src/meeting/media.ts';

/**
 * Two clients in a meeting that goes on until SIGTERM: `node watched-meeting.ts API_URL API_TOKEN_FILE`.
 * Writes a line of JSON when audio flows, one every now and then while it does, and one with what was counted at the end. ROOM names a room that is there.
 */

/** A message each; what is on its way at the end gets this long. */
const MESSAGE_MS = 50;
const TAIL_MS = 15_000;
/** Far longer than a client that is connected needs. */
const SEND_MS = 1_000;
/** Leaving is one message; a client that cannot send it does not end by itself. */
const LEAVE_MS = 3_000;
const RATE = 48_000;
/** Of 16-bit samples: the tone reaches 8000, what stands in for lost audio fades below this. */
const LOUD = 1_000;
const NOTED_GAP_MS = 200;
const SAY_MS = 200;

const [apiUrl = '', apiToken = ''] = [process.argv[2], process.env['API_TOKEN']];
const api = roomApi({ apiUrl, apiToken });
/** RELAY=only: no way but through the TURN servers that LiveKit names. */
const relayed =
  process.env['RELAY'] === 'only'
    ? { rtcConfig: { iceTransportType: IceTransportType.TRANSPORT_RELAY, continualGatheringPolicy: ContinualGatheringPolicy.GATHER_ONCE, iceServers: [] } }
    : {};
const stop = new AbortController();
process.once('SIGTERM', () => stop.abort());

const room = process.env['ROOM'] ?? (await api.createRoom(stop.signal));
const [alice, bob] = [new Room(), new Room()];
const counts = {
  room,
  reconnections: 0,
  sent: 0,
  received: 0,
  last: 0,
  frames: 0,
  silent: 0,
  longestSilenceMs: 0,
  longestGapMs: 0,
  backAtMs: 0,
  timeline: [] as string[],
};
/** When sound last came, by a clock that never jumps. */
let loudAtMs = Number.NaN;
let saidAtMs = Number.NaN;
for (const [name, client] of Object.entries({ alice, bob })) {
  client.on(RoomEvent.Reconnecting, () => {
    counts.reconnections += 1;
    note(`${name} reconnects`);
  });
  client.on(RoomEvent.Reconnected, () => {
    counts.backAtMs = Date.now();
    note(`${name} is back`);
  });
  client.on(RoomEvent.Disconnected, () => {
    if (stop.signal.aborted) return;
    counts.reconnections += 1;
    note(`${name} is out`);
  });
}
bob.on(RoomEvent.DataReceived, (payload) => {
  counts.received += 1;
  counts.last = Number(Buffer.from(payload).toString());
});
/** One after the other: a client that had to enter anew publishes another track. */
const listening: Promise<void>[] = [];
bob.on(RoomEvent.TrackSubscribed, (track) => {
  if (track.kind === TrackKind.KIND_AUDIO) listening.push(listen(track));
});
for (const [identity, client] of [['alice', alice] as const, ['bob', bob] as const]) {
  const { url, token } = await api.join(room, identity, stop.signal);
  await client.connect(url, token, { autoSubscribe: true, dynacast: false, ...relayed });
}
const stopTone = await publishTone(alice);
while (counts.frames === 0) await sleep(20);
process.stdout.write(`${JSON.stringify({ started: room })}\n`);
while (!stop.signal.aborted) {
  await send();
  await sleep(MESSAGE_MS);
}
// Until one that is sent now arrives: a client may be on its way back.
for (const deadline = Date.now() + TAIL_MS; counts.last < counts.sent && Date.now() < deadline; await sleep(MESSAGE_MS * 10))
  if (counts.reconnections > 0) await send();
process.stdout.write(`${JSON.stringify(counts)}\n`);
const leaving = Promise.all([stopTone(), alice.disconnect(), bob.disconnect(), ...listening]);
await Promise.race([leaving, sleep(LEAVE_MS)]);
process.exit();

async function send(): Promise<void> {
  counts.sent += 1;
  // While it reconnects nothing can be sent, and the client may wait for ever.
  const sending = alice.localParticipant?.publishData(Buffer.from(String(counts.sent)), { reliable: true }).catch(() => {});
  await Promise.race([sending, sleep(SEND_MS, undefined, { ref: false })]);
}

function note(what: string): void {
  counts.timeline.push(`${new Date().toISOString().slice(11, 23)} ${what}`);
}

/** Counts from the first sound on. */
async function listen(track: RemoteTrack): Promise<void> {
  const stream = new AudioStream(track, RATE, 1).getReader();
  let quiet = 0;
  for (let next = await stream.read(); !next.done && !stop.signal.aborted; next = await stream.read()) {
    const isLoud = next.value.data.some((sample) => Math.abs(sample) > LOUD);
    if (!isLoud && counts.frames === 0) continue;
    counts.frames += 1;
    quiet = isLoud ? 0 : quiet + (next.value.samplesPerChannel / RATE) * 1000;
    if (!isLoud) counts.silent += 1;
    counts.longestSilenceMs = Math.max(counts.longestSilenceMs, quiet);
    if (isLoud) heard();
  }
}

function heard(): void {
  const nowMs = performance.now();
  const gapMs = nowMs - loudAtMs;
  if (gapMs > NOTED_GAP_MS) note(`sound again after ${Math.round(gapMs)} ms`);
  if (!(nowMs - saidAtMs < SAY_MS)) {
    process.stdout.write(`${JSON.stringify({ soundAtMs: Date.now() })}\n`);
    saidAtMs = nowMs;
  }
  if (gapMs > counts.longestGapMs) counts.longestGapMs = gapMs;
  loudAtMs = nowMs;
}
