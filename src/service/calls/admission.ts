import { HttpProblem } from '../problem.ts';
import type { CallRecord } from '../store/call-rows.ts';
import type { RoomRecord } from '../store/room-rows.ts';
import type { Store } from '../store/store.ts';
import { advance } from './call-machine.ts';
import type { Refusal } from './call-machine.ts';

/** Who acts, and when (milliseconds since 1970). */
interface Acting {
  readonly by: string;
  readonly nowMs: number;
}

/** LiveKit keeps an empty room for so long by itself (its `empty_timeout`), */
const EMPTY_SECONDS = 300;
/** and what is waited for comes a little later. */
const MARGIN_SECONDS = 30;

/** What LiveKit's room of a call is made with: it outlives the ringing and every absence. In seconds. */
export async function keepsRoomFor(store: Store, room: RoomRecord): Promise<{ emptyTimeout: number; departureTimeout: number }> {
  const { call } = found(await store.calls.find(room.id), room.id);
  const [ringSeconds, graceSeconds] = [Math.ceil(call.ringMs / 1000), Math.ceil(call.graceMs / 1000)];
  return {
    emptyTimeout: Math.max(room.emptyTimeout ?? EMPTY_SECONDS, ringSeconds + MARGIN_SECONDS),
    departureTimeout: graceSeconds + MARGIN_SECONDS,
  };
}

/** @throws HttpProblem where this person may not enter the call now */
export async function checkAdmission(store: Store, id: string, { by, nowMs }: Acting): Promise<void> {
  const { call } = found(await store.calls.find(id), id);
  const step = advance(call, { kind: 'accept', by }, nowMs);
  if (typeof step === 'string') throw refused(step, id, by);
}

/** Takes the call for them, where it rings; who is in stays so. @throws HttpProblem */
export async function admit(store: Store, room: RoomRecord, { by, nowMs }: Acting): Promise<void> {
  done(await store.calls.act(room.id, { kind: 'accept', by }, nowMs), room.id, by);
}

/** Hangs up, rejects or cancels, by role and phase. Also well where that is done, or they are a stranger to the call. */
export async function hangUp(store: Store, id: string, { by, nowMs }: Acting): Promise<void> {
  await store.calls.act(id, { kind: 'leave', by }, nowMs);
}

/** The call, or the problem that it is none. @throws HttpProblem 404 CALL_NOT_FOUND */
export function found(record: CallRecord | null, id: string): CallRecord {
  if (record === null) throw new HttpProblem('CALL_NOT_FOUND', { id });
  return record;
}

/** The call after an action. @throws HttpProblem where it was refused */
export function done(result: CallRecord | Refusal | null, id: string, by: string | null): CallRecord {
  if (typeof result === 'string') throw refused(result, id, by);
  return found(result, id);
}

function refused(refusal: Refusal, id: string, by: string | null): HttpProblem {
  switch (refusal) {
    case 'ENDED':
      return new HttpProblem('CALL_ENDED', { id });
    case 'NOT_YOURS':
      return new HttpProblem('NOT_YOUR_CALL', { id, identity: by ?? '' });
    case 'WRONG_STATE':
      return new HttpProblem('CALL_STATE');
    case 'FULL':
      return new HttpProblem('CALL_FULL', { id });
  }
}
