import { setTimeout as sleep } from 'node:timers/promises';
import type { DrillClients } from '../contract/drill.ts';
import type { DrillRun } from './run.ts';

/** As long as our service waits for LiveKit, and the way. */
const ROOM_TIMEOUT_MS = 8_000;
const EMPTY_TIMEOUT_SECONDS = 1;

/** Asks for new rooms at the given rate, whatever becomes of those before, until the signal aborts. */
export async function askForRooms({ apiUrl, apiToken, roomsPerSecond }: Omit<DrillClients, 'meeting'>, { signal, emit, nowMs }: DrillRun): Promise<void> {
  const ask = async (path: string, body: object): Promise<Record<string, unknown> | null> => {
    const headers = { authorization: `Bearer ${apiToken}`, 'content-type': 'application/json' };
    try {
      const answer = await fetch(`${apiUrl}/api/v1${path}`, {
        method: 'POST',
        headers,
        body: JSON.stringify(body),
        signal: AbortSignal.timeout(ROOM_TIMEOUT_MS),
      });
      const said = (await answer.json()) as Record<string, unknown>;
      return answer.ok ? said : null;
    } catch {
      return null;
    }
  };
  const create = async (): Promise<void> => {
    const startedMs = nowMs();
    const room = await ask('/rooms', { emptyTimeout: EMPTY_TIMEOUT_SECONDS, start: true });
    const endedMs = nowMs();
    const ticket = room === null ? null : await ask(`/rooms/${String(room['id'])}/join`, { identity: 'somebody' });
    const path = ticket === null ? '' : new URL(String(ticket['url'])).pathname.replace(/^\/$/, '');
    emit({ kind: 'room', startedMs, endedMs, isCreated: room !== null, path });
  };
  for (; !signal.aborted; await pause(1_000 / roomsPerSecond, signal)) void create();
}

async function pause(ms: number, signal: AbortSignal): Promise<void> {
  await sleep(ms, undefined, { signal }).catch(() => {});
}
