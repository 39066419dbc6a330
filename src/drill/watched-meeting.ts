import { setTimeout as sleep } from 'node:timers/promises';
import { AudioStream, ContinualGatheringPolicy, DisconnectReason, IceTransportType, Room, RoomEvent, TrackKind } from '@livekit/rtc-node';
import type { RemoteTrack } from '@livekit/rtc-node';
import type { DrillClients, DrillCounts, DrillWord } from '../contract/drill.ts';
import { roomApi } from '../meeting/api.ts';
import type { RoomApi } from '../meeting/api.ts';
import { publishTone } from '../meeting/media.ts';
import type { DrillRun } from './run.ts';

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
/** Far longer than from a message to a sound. */
const MUTE_MS = 5_000;
/** Rooms go to nodes at random: one of ten nodes is missed by all of them once in 500 times. */
const TRIES = 60;

/** No way but through the TURN servers that LiveKit names. */
const relayed = {
  rtcConfig: { iceTransportType: IceTransportType.TRANSPORT_RELAY, continualGatheringPolicy: ContinualGatheringPolicy.GATHER_ONCE, iceServers: [] },
};

/**
 * Two clients meet until the signal aborts: one sends a tone and numbered messages, the other counts what comes. Emits when sound flows,
 * that it does every now and then, and what was counted at the end.
 * Rejects where they do not come together.
 */
export async function holdWatchedMeeting(
  config: DrillClients & { readonly meeting: NonNullable<DrillClients['meeting']> },
  { signal, emit, nowMs }: DrillRun,
): Promise<void> {
  const api = roomApi(config);
  const room = await openRoom(api, config.meeting.machine, signal);
  const [alice, bob] = [new Room(), new Room()];
  const counts: DrillCounts = {
    kind: 'counts',
    reconnections: 0,
    sent: 0,
    received: 0,
    last: 0,
    frames: 0,
    silent: 0,
    longestSilenceMs: 0,
    longestGapMs: 0,
    backAtMs: 0,
    timeline: [],
  };
  const note = (what: string): void => void counts.timeline.push(`${new Date(nowMs()).toISOString().slice(11, 23)} ${what}`);
  for (const [name, client] of Object.entries({ alice, bob })) {
    client.on(RoomEvent.Reconnecting, () => {
      counts.reconnections += 1;
      note(`${name} reconnects`);
    });
    client.on(RoomEvent.Reconnected, () => {
      counts.backAtMs = nowMs();
      note(`${name} is back`);
    });
    client.on(RoomEvent.Disconnected, (reason) => {
      if (signal.aborted) return;
      counts.reconnections += 1;
      note(`${name} is out: ${DisconnectReason[reason]}`);
    });
  }
  let [heardAtMs, messageAtMs] = [0, 0];
  let isToneBroken = false;
  bob.on(RoomEvent.DataReceived, (payload) => {
    messageAtMs = performance.now();
    counts.received += 1;
    counts.last = Number(Buffer.from(payload).toString());
  });
  const hear = (word: DrillWord): void => {
    heardAtMs = performance.now();
    emit(word);
  };
  const ear = soundCounter(counts, { note, emit: hear, nowMs });
  const listening: Promise<void>[] = [];
  // One after the other: a client that had to enter anew publishes another track.
  bob.on(RoomEvent.TrackSubscribed, (track) => {
    if (track.kind !== TrackKind.KIND_AUDIO) return;
    note('bob is given the tone');
    listening.push(ear(track, signal));
  });
  for (const [identity, client] of [['alice', alice] as const, ['bob', bob] as const]) {
    const { url, token } = await api.join(room, identity, signal);
    await client.connect(url, token, { autoSubscribe: true, dynacast: false, ...(config.meeting.isRelayed ? relayed : {}) });
  }
  const stopTone = await publishTone(alice, (error) => {
    isToneBroken = true;
    note(`the tone broke off: ${String(error)}`);
  });
  while (counts.frames === 0) await sleep(20, undefined, { signal });
  emit({ kind: 'started', room });
  while (!signal.aborted) {
    await send(alice, counts);
    await sleep(MESSAGE_MS);
  }
  // Before 0.12.74 the client's native part could lock itself out after a full reconnection, and never offer the track that LiveKit expects:
  // https://github.com/livekit/rust-sdks/pull/1252
  if (!isToneBroken && messageAtMs - heardAtMs > MUTE_MS) note('messages arrive, sound does not');
  // Until one that is sent now arrives: a client may be on its way back.
  for (const deadline = nowMs() + TAIL_MS; counts.last < counts.sent && nowMs() < deadline; await sleep(MESSAGE_MS * 10))
    if (counts.reconnections > 0) await send(alice, counts);
  emit(counts);
  const leaving = Promise.all([stopTone(), alice.disconnect(), bob.disconnect(), ...listening]);
  await Promise.race([leaving, sleep(LEAVE_MS)]);
}

/** A new room, on this machine's node where one is named. */
async function openRoom(api: RoomApi, machine: string | null, signal: AbortSignal): Promise<string> {
  for (let tries = 0; tries < TRIES; tries++) {
    const room = await api.createRoom(signal);
    if (machine === null) return room;
    const { url } = await api.join(room, 'alice', signal);
    if (new URL(url).pathname === `/n/${machine}`) return room;
  }
  throw new Error(`none of ${TRIES} new rooms came to ${machine}`);
}

async function send(client: Room, counts: DrillCounts): Promise<void> {
  counts.sent += 1;
  // While it reconnects nothing can be sent, and the client may wait for ever.
  const sending = client.localParticipant?.publishData(Buffer.from(String(counts.sent)), { reliable: true }).catch(() => {});
  await Promise.race([sending, sleep(SEND_MS, undefined, { ref: false })]);
}

/** Gives what listens to a track to its end. It counts from the first sound on. */
function soundCounter(
  counts: DrillCounts,
  { note, emit, nowMs }: { note: (what: string) => void } & Omit<DrillRun, 'signal'>,
): (track: RemoteTrack, signal: AbortSignal) => Promise<void> {
  // By a clock that never jumps.
  let [loudAtMs, saidAtMs] = [Number.NaN, Number.NaN];
  const hear = (): void => {
    const atMs = performance.now();
    const gapMs = atMs - loudAtMs;
    if (gapMs > NOTED_GAP_MS) note(`sound again after ${Math.round(gapMs)} ms`);
    if (!(atMs - saidAtMs < SAY_MS)) {
      emit({ kind: 'sound', atMs: nowMs() });
      saidAtMs = atMs;
    }
    if (gapMs > counts.longestGapMs) counts.longestGapMs = gapMs;
    loudAtMs = atMs;
  };
  return async (track, signal) => {
    const stream = new AudioStream(track, RATE, 1).getReader();
    let quiet = 0;
    for (let next = await stream.read(); !next.done && !signal.aborted; next = await stream.read()) {
      const isLoud = next.value.data.some((sample) => Math.abs(sample) > LOUD);
      if (!isLoud && counts.frames === 0) continue;
      counts.frames += 1;
      quiet = isLoud ? 0 : quiet + (next.value.samplesPerChannel / RATE) * 1000;
      if (!isLoud) counts.silent += 1;
      counts.longestSilenceMs = Math.max(counts.longestSilenceMs, quiet);
      if (isLoud) hear();
    }
  };
}
