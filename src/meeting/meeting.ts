import { Room } from '@livekit/rtc-node';
import { roomApi } from './api.ts';
import type { RoomApi } from './api.ts';
import { exchangeData, hearAudio, publishTone } from './media.ts';
import { StepError, rootMessage, within } from './step.ts';
import type { Cause } from './step.ts';

/** What the meeting needs; comes over stdin because it holds a token. */
export interface MeetingConfig {
  readonly apiUrl: string;
  readonly apiToken: string;
  /** Longest time for one step. */
  readonly timeoutMs: number;
  readonly wantWebhooks: boolean;
}

/** One line of the report. */
export interface StepReport {
  readonly step: string;
  readonly ok: boolean;
  readonly ms: number;
  readonly detail: string;
  readonly cause?: Cause;
}

/** Two clients meet in a new room: audio and data one way, then both leave and the webhooks must have come. True when all passed. */
export async function holdMeeting(config: MeetingConfig, report: (step: StepReport) => void): Promise<boolean> {
  const api = roomApi(config);
  const [alice, bob] = [new Room(), new Room()];
  let stopTone: (() => Promise<void>) | null = null;
  const step = async <T>(name: string, likely: Cause, work: () => Promise<T>, describe: (value: T) => string): Promise<T> => {
    const began = performance.now();
    try {
      const value = await within(config.timeoutMs, likely, work());
      report({ step: name, ok: true, ms: performance.now() - began, detail: describe(value) });
      return value;
    } catch (error) {
      const cause = error instanceof StepError ? error.likely : likely;
      report({ step: name, ok: false, ms: performance.now() - began, cause, detail: rootMessage(error) });
      throw new StepError(cause, name, { cause: error });
    }
  };
  try {
    const room = await step(
      'create-room',
      'API_UNREACHABLE',
      () => api.createRoom(),
      (id) => id,
    );
    const enter = (client: Room, identity: string): Promise<string> =>
      step(
        `join-${identity}`,
        'SIGNALLING_FAILED',
        async () => {
          const { url, token } = await api.join(room, identity);
          await client.connect(url, token, { autoSubscribe: true, dynacast: false });
          return url;
        },
        (url) => url,
      );
    await enter(alice, 'alice');
    await enter(bob, 'bob');
    stopTone = await step(
      'publish-audio',
      'MEDIA_BLOCKED',
      () => publishTone(alice),
      () => '440 Hz',
    );
    await step(
      'receive-audio',
      'MEDIA_BLOCKED',
      () => hearAudio(bob, 50),
      (frames) => `${frames} frames`,
    );
    await step(
      'data',
      'DATA_LOST',
      () => exchangeData(alice, bob),
      () => '',
    );
    const stop = stopTone;
    stopTone = null;
    await step(
      'leave',
      'SIGNALLING_FAILED',
      async () => {
        await stop();
        await Promise.all([alice.disconnect(), bob.disconnect()]);
        await Promise.all(['alice', 'bob'].map((identity) => api.leave(room, identity)));
      },
      () => '',
    );
    if (config.wantWebhooks)
      await step(
        'webhooks',
        'WEBHOOKS_MISSING',
        () => awaitWebhooks(api, { room, timeoutMs: config.timeoutMs }),
        (names) => names.join(', '),
      );
    return true;
  } catch (error) {
    if (error instanceof StepError) return false;
    throw error;
  } finally {
    await stopTone?.();
    await Promise.all([alice.disconnect(), bob.disconnect()]);
  }
}

const WANTED = [
  'room_started',
  'participant_joined alice',
  'participant_joined bob',
  'track_published alice',
  'participant_left alice',
  'participant_left bob',
];

/** Asks every 200 ms until the service has stored what LiveKit must have said about the meeting. */
async function awaitWebhooks(api: RoomApi, { room, timeoutMs }: { room: string; timeoutMs: number }): Promise<string[]> {
  const deadline = performance.now() + timeoutMs - 500;
  for (;;) {
    const have = new Set((await api.events(room)).map(({ event, identity }) => (event.startsWith('room_') ? event : `${event} ${identity ?? ''}`)));
    const missing = WANTED.filter((one) => !have.has(one));
    if (missing.length === 0) return WANTED;
    if (performance.now() > deadline) throw new StepError('WEBHOOKS_MISSING', `not arrived: ${missing.join(', ')}`);
    await new Promise((resolve) => setTimeout(resolve, 200));
  }
}
