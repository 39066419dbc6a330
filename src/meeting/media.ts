import { randomUUID } from 'node:crypto';
import { AudioFrame, AudioSource, AudioStream, LocalAudioTrack, Room, RoomEvent, TrackKind, TrackPublishOptions, TrackSource } from '@livekit/rtc-node';
import type { RemoteTrack } from '@livekit/rtc-node';
import { StepError } from './step.ts';

const RATE = 48_000;
const FRAME = RATE / 100;

/** Publishes a 440 Hz tone, 10 ms frames in real time, until the returned function is called. */
export async function publishTone(room: Room): Promise<() => Promise<void>> {
  const source = new AudioSource(RATE, 1);
  const track = LocalAudioTrack.createAudioTrack('tone', source);
  const options = new TrackPublishOptions();
  options.source = TrackSource.SOURCE_MICROPHONE;
  if (room.localParticipant === undefined) throw new StepError('SIGNALLING_FAILED', 'not in the room');
  await room.localParticipant.publishTrack(track, options);
  const stopping = new AbortController();
  const playing = (async () => {
    for (let at = 0; !stopping.signal.aborted; at += FRAME) {
      const samples = Int16Array.from({ length: FRAME }, (_, index) => Math.round(8000 * Math.sin((2 * Math.PI * 440 * (at + index)) / RATE)));
      await source.captureFrame(new AudioFrame(samples, RATE, 1, FRAME));
    }
  })();
  return async () => {
    stopping.abort();
    await playing;
    await track.close();
  };
}

/** Waits for the other side's audio and for `count` frames that are not silence; gives the frames heard in all. */
export async function hearAudio(room: Room, count: number): Promise<number> {
  const track = await audioTrack(room);
  const stream = new AudioStream(track, RATE, 1);
  let loud = 0;
  let all = 0;
  for await (const frame of stream) {
    all += 1;
    if (frame.data.some((sample) => Math.abs(sample) > 1000)) loud += 1;
    if (loud >= count) return all;
  }
  throw new StepError('MEDIA_BLOCKED', `the audio ended after ${loud} frames`);
}

function audioTrack(room: Room): Promise<RemoteTrack> {
  for (const participant of room.remoteParticipants.values()) {
    for (const publication of participant.trackPublications.values()) {
      if (publication.kind === TrackKind.KIND_AUDIO && publication.track !== undefined) return Promise.resolve(publication.track);
    }
  }
  return new Promise((resolve) => {
    room.on(RoomEvent.TrackSubscribed, (track) => {
      if (track.kind === TrackKind.KIND_AUDIO) resolve(track);
    });
  });
}

/** Sends a random text from one client as reliable data; resolves when the other received exactly it. */
export async function exchangeData(from: Room, to: Room): Promise<void> {
  const nonce = randomUUID();
  const received = new Promise<void>((resolve) => {
    to.on(RoomEvent.DataReceived, (payload) => {
      if (Buffer.from(payload).toString('utf8') === nonce) resolve();
    });
  });
  await from.localParticipant?.publishData(Buffer.from(nonce), { reliable: true });
  await received;
}
