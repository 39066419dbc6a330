import { onTestFinished, vi } from 'vitest';
import { LivekitError } from '../../../src/clients/livekit-rooms.ts';
import { createDeadlines } from '../../../src/service/calls/deadlines.ts';
import type { DeadlineDeps } from '../../../src/service/calls/deadlines.ts';
import { livekitStartMs, roomEvent, rowsOf, startLivekitStandIn, startService } from '../fixtures.ts';
import type { Answer, TestService } from '../fixtures.ts';

export interface Told {
  readonly type: string;
  readonly data: { call: Record<string, unknown>; parties: Array<Record<string, unknown>>; room: string };
}

export interface CallService extends TestService {
  /** POST below /api/v1/calls. */
  ask(path: string, body: unknown, headers?: Record<string, string>): Promise<Answer>;
  shown(id?: string): Promise<Record<string, unknown>>;
  /** The states of a call and its people. */
  states(id?: string): Promise<[state: unknown, reason: unknown, parties: Record<string, unknown>]>;
  /** LiveKit tells that somebody came or left; a connection's sid is the identity and its number. */
  comes(identity: string, connection?: number, room?: string): Promise<void>;
  goes(identity: string, reason: string, connection?: number, room?: string): Promise<void>;
  /** Time passes, and what is due happens. */
  wait(ms: number): Promise<void>;
  /** What an endpoint would hear of calls. */
  told(): Promise<Told[]>;
  /** What LiveKit was asked by the deadlines, such as `delete c1`. */
  readonly asked: string[];
  /** Who is in LiveKit's room, as it says; null: it does not answer. */
  livekitHas: string[] | null;
}

/** A service whose clock stands until `wait`. The deadlines' LiveKit is a record of what it is asked; the rooms' is the stand-in. */
export async function startCallService(): Promise<CallService> {
  vi.useFakeTimers({ toFake: ['Date'] });
  onTestFinished(() => void vi.useRealTimers());
  const service = await startService((await startLivekitStandIn()).url);
  const fixed = { former: null, disabledReason: null, createdAtMs: 0, isEnabled: true, timeoutMs: 1_000, description: '' };
  await service.store.webhooks.add({ ...fixed, id: 'e1', url: 'http://127.0.0.1:1', events: '*', secret: 's' });
  const asked: string[] = [];
  let events = 0;
  const tell = async (event: string, who: { identity: string; sid: string; disconnectReason?: string }, room: string): Promise<void> => {
    const nowS = String(Math.floor(Date.now() / 1000));
    await service.webhook({ ...roomEvent(`EV_${++events}`, event, { room, createdAtMs: livekitStartMs }), createdAt: nowS, participant: who });
  };
  const deadlines = createDeadlines({ store: service.store, livekit: livekitThat(() => extended.livekitHas, asked), now: Date.now, warn: () => undefined });
  const extended: CallService = {
    ...service,
    asked,
    livekitHas: [],
    ask: (path, body, headers) => service.call('POST', `/api/v1/calls${path}`, body, headers),
    shown: async (id = 'c1') => (await service.call('GET', `/api/v1/calls/${id}`)).body,
    async states(id) {
      const { state, reason, parties } = await extended.shown(id);
      return [state, reason, Object.fromEntries((parties as Array<{ identity: string; state: string }>).map((one) => [one.identity, one.state]))];
    },
    comes: (identity, connection = 1, room = 'c1') => tell('participant_joined', { identity, sid: `PA_${identity}${connection}` }, room),
    goes: (identity, reason, connection = 1, room = 'c1') =>
      tell('participant_left', { identity, sid: `PA_${identity}${connection}`, disconnectReason: reason }, room),
    async wait(ms) {
      vi.setSystemTime(Date.now() + ms);
      await deadlines.look();
    },
    told: async () =>
      (await rowsOf(service, `SELECT type, body FROM outbox WHERE type LIKE 'call.%' ORDER BY seq`)).map(({ type, body }) => ({
        type: String(type),
        data: (JSON.parse(String(body)) as { data: Told['data'] }).data,
      })),
  };
  return extended;
}

function livekitThat(has: () => string[] | null, asked: string[]): DeadlineDeps['livekit'] {
  const here = async (what: string): Promise<void> => {
    asked.push(what);
    if (has() === null) throw new Error('away');
  };
  return {
    createRoom: async () => ({ createdAtMs: 0 }),
    deleteRoom: async (room) => {
      await here(`delete ${room}`);
      throw new LivekitError('not_found', 404, 'no such room');
    },
    removeParticipant: (room, identity) => here(`remove ${identity} from ${room}`),
    async listParticipants(room) {
      await here(`list ${room}`);
      return (has() ?? []).map((identity) => ({ sid: 's', identity, name: '', metadata: '', state: 'ACTIVE', joinedAt: 1, tracks: [] }));
    },
  };
}
