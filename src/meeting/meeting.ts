import { setTimeout as sleep } from 'node:timers/promises';
import { Room, RoomEvent } from '@livekit/rtc-node';
import { RoomServiceClient } from 'livekit-server-sdk';
import type { CauseCode } from '../kernel/messages/en.ts';
import { roomApi } from './api.ts';
import type { RoomApi, Ticket } from './api.ts';
import type { MeetingConfig } from './config.ts';
import { explain } from './explain.ts';
import { exchangeData, hearAudio, publishTone } from './media.ts';
import { StepError, runStep } from './step.ts';
import type { Step, StepReport, StepRun } from './step.ts';

/** Leaving and deleting are one message each; what takes longer hangs, and the process ends anyway. */
const CLEAN_UP_TIMEOUT_MS = 3000;
const WEBHOOK_POLL_MS = 200;

/** What the steps share. */
interface Meeting {
  readonly api: RoomApi;
  room: string | null;
  /** The last one that was given out. */
  ticket: Ticket | null;
  readonly clients: Readonly<Record<'alice' | 'bob', Room>>;
  stopTone: () => Promise<void>;
}

/**
 * Two clients meet in a new room: audio and data one way, then both leave and the webhooks must have come. Whatever happens, both leave and the room is deleted.
 * @returns true when all steps passed
 * @throws the signal's reason when it is aborted
 */
export async function holdMeeting(config: MeetingConfig, options: { signal: AbortSignal; report: (step: StepReport) => void }): Promise<boolean> {
  const meeting: Meeting = { api: roomApi(config), room: null, ticket: null, clients: { alice: new Room(), bob: new Room() }, stopTone: async () => {} };
  try {
    for (const step of stepsOf(meeting, config)) {
      const done = await runStep(step, {
        timeoutMs: config.timeoutMs,
        signal: options.signal,
        explain: (found) => explain(found, { config, api: meeting.api, ticket: meeting.ticket }),
      });
      options.report(done);
      if (!done.ok) return false;
    }
    return true;
  } finally {
    await cleanUp(meeting, config);
  }
}

function stepsOf(meeting: Meeting, config: MeetingConfig): Step[] {
  const { api, clients } = meeting;
  const { alice, bob } = clients;
  const lost = Promise.race([alice, bob].map(rejectWhenLost));
  // Nobody waits for it before a step in the room begins.
  lost.catch(() => {});
  const inRoom = (work: (run: StepRun) => Promise<string>) => (run: StepRun) => Promise.race([work(run), lost]);
  return [
    { name: 'create-room', late: 'SERVICE_UNAVAILABLE', work: async ({ signal }) => (meeting.room = await api.createRoom(signal)) },
    { name: 'join-alice', late: 'MEDIA_BLOCKED', work: (run) => enter(meeting, 'alice', run) },
    { name: 'join-bob', late: 'MEDIA_BLOCKED', work: (run) => enter(meeting, 'bob', run) },
    {
      name: 'publish-audio',
      late: 'MEDIA_BLOCKED',
      work: inRoom(async () => {
        meeting.stopTone = await publishTone(alice);
        return '440 Hz';
      }),
    },
    { name: 'receive-audio', late: 'AUDIO_LOST', work: inRoom((run) => hearAudio(bob, run)) },
    { name: 'data', late: 'DATA_LOST', work: inRoom((run) => exchangeData(alice, bob, run)) },
    { name: 'leave', late: 'SERVICE_UNAVAILABLE', work: (run) => leave(meeting, run) },
    ...(config.webhooks === null ? [] : [{ name: 'webhooks', late: 'WEBHOOKS_MISSING', work: (run) => awaitWebhooks(meeting, run) } satisfies Step]),
  ];
}

async function enter(meeting: Meeting, identity: 'alice' | 'bob', { signal, reached }: StepRun): Promise<string> {
  reached('no answer from the room API');
  const ticket = await meeting.api.join(roomOf(meeting), identity, signal);
  meeting.ticket = ticket;
  reached(`no connection through ${ticket.url}`);
  try {
    await meeting.clients[identity].connect(ticket.url, ticket.token, { autoSubscribe: true, dynacast: false });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new StepError(causeOf(text), `${ticket.url}: ${text}`, { cause: error });
  }
  return ticket.url;
}

/** The native client's errors have no code: the text is all there is. Its last step is the media connection, which it calls `pc`. */
function causeOf(text: string): CauseCode {
  if (/UnknownIssuer|invalid peer certificate/.test(text)) return 'TLS_UNTRUSTED';
  return text.includes('wait_pc_connection') ? 'MEDIA_BLOCKED' : 'SIGNALLING_FAILED';
}

/** The API first, while both are in the room, so that it has something to do. */
async function leave(meeting: Meeting, { signal }: StepRun): Promise<string> {
  const { api, clients, stopTone } = meeting;
  await stopTone();
  await Promise.all(Object.keys(clients).map((identity) => api.leave(roomOf(meeting), identity, signal)));
  await Promise.all(Object.values(clients).map((client) => client.disconnect()));
  return Object.keys(clients).join(', ');
}

const WANTED = [
  'room_started',
  'participant_joined alice',
  'participant_joined bob',
  'track_published alice',
  'participant_left alice',
  'participant_left bob',
];

/** Asks until the service has stored what LiveKit must have said about the meeting. */
async function awaitWebhooks(meeting: Meeting, { signal, reached }: StepRun): Promise<string> {
  for (;;) {
    const events = await meeting.api.events(roomOf(meeting), signal);
    const have = new Set(events.map(({ event, identity }) => (event.startsWith('room_') ? event : `${event} ${identity ?? ''}`)));
    const missing = WANTED.filter((one) => !have.has(one));
    if (missing.length === 0) return WANTED.join(', ');
    reached(`not arrived: ${missing.join(', ')}`);
    await sleep(WEBHOOK_POLL_MS, undefined, { signal });
  }
}

async function cleanUp(meeting: Meeting, { apiUrl, livekit }: MeetingConfig): Promise<void> {
  const rooms = new RoomServiceClient(apiUrl, livekit.apiKey, livekit.apiSecret, { requestTimeout: CLEAN_UP_TIMEOUT_MS / 1000 });
  const everyone = Object.values(meeting.clients);
  const ending = new AbortController();
  const work = (async () => {
    await Promise.allSettled([meeting.stopTone(), ...everyone.map((client) => client.disconnect())]);
    if (meeting.room !== null) await Promise.allSettled([rooms.deleteRoom(meeting.room)]);
  })();
  await Promise.race([work, sleep(CLEAN_UP_TIMEOUT_MS, undefined, { signal: ending.signal, ref: false }).catch(() => {})]);
  ending.abort();
}

function rejectWhenLost(client: Room): Promise<never> {
  return new Promise((_resolve, reject) => {
    client.once(RoomEvent.Disconnected, (reason) => reject(new StepError('SIGNALLING_FAILED', `a client lost its connection (DisconnectReason ${reason})`)));
  });
}

function roomOf(meeting: Meeting): string {
  if (meeting.room === null) throw new Error('no room was created');
  return meeting.room;
}
