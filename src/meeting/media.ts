import { randomUUID } from 'node:crypto';
import { AudioFrame, AudioSource, AudioStream, LocalAudioTrack, Room, RoomEvent, TrackKind, TrackPublishOptions, TrackSource } from '@livekit/rtc-node';
import type { RemoteTrack } from '@livekit/rtc-node';
import { StepError } from './step.ts';
import type { StepRun } from './step.ts';

const RATE = 48_000;
const FRAME = RATE / 100;
/** Half a second of 10 ms frames: more than one lucky packet, still quick. */
const WANTED_FRAMES = 50;
/** Of 16-bit samples: comfort noise stays below 100, the tone reaches 8000. */
const LOUD = 1000;

/**
 * Publishes a 440 Hz tone, 10 ms frames in real time, until the returned function is called.
 * @param onBroken hears why the tone has broken off before; the receiver hears silence then, which is what a step can name
 */
export async function publishTone(room: Room, onBroken: (error: unknown) => void = () => {}): Promise<() => Promise<void>> {
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
  const played = playing.catch(onBroken);
  return async () => {
    stopping.abort();
    await played;
    await track.close();
  };
}

/** Waits for the other side's audio and for half a second of it that is not silence; says what was heard. */
export async function hearAudio(room: Room, { signal, reached }: StepRun): Promise<string> {
  reached('no audio track came');
  const stream = new AudioStream(await audioTrack(room), RATE, 1).getReader();
  // A reader that waits for a frame notices nothing else.
  signal.addEventListener('abort', () => void stream.cancel());
  let [loud, all] = [0, 0];
  for (let next = await stream.read(); !next.done; next = await stream.read()) {
    all += 1;
    if (next.value.data.some((sample) => Math.abs(sample) > LOUD)) loud += 1;
    if (loud >= WANTED_FRAMES) return `${loud} of ${all} frames with sound`;
    reached(`${loud} of ${all} frames with sound`);
  }
  throw new StepError('AUDIO_LOST', `the audio ended: ${loud} of ${all} frames with sound`);
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
export async function exchangeData(from: Room, to: Room, { reached }: StepRun): Promise<string> {
  const nonce = randomUUID();
  const received = new Promise<void>((resolve) => {
    to.on(RoomEvent.DataReceived, (payload) => {
      if (Buffer.from(payload).toString('utf8') === nonce) resolve();
    });
  });
  if (from.localParticipant === undefined) throw new StepError('SIGNALLING_FAILED', 'not in the room');
  reached('could not send');
  await from.localParticipant.publishData(Buffer.from(nonce), { reliable: true });
  reached(`${nonce.length} bytes sent, none received`);
  await received;
  return `${nonce.length} bytes`;
}
