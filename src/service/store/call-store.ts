import type { Action, Refusal } from '../calls/call-machine.ts';
import type { Awaitable, Database } from './database.ts';
import * as rows from './call-rows.ts';
import type { CallPage, CallRecord } from './call-rows.ts';
import * as works from './call-works.ts';
import type { Absent, Chores, Due, NewCall } from './call-works.ts';
import type { NewRoom, Once } from './room-rows.ts';

/** Calls, their people and deadlines. */
export interface CallStore {
  /** Makes the room and lets it ring; null while a room of this id is not finished; where the same request came before, the call as it is now. */
  add(room: NewRoom, call: NewCall, once: Once | null): Promise<CallRecord | Refusal | 'mismatch' | null>;
  invite(id: string, invitation: { by: string; invitees: readonly string[] }, nowMs: number): Promise<CallRecord | Refusal | null>;
  /** Lets it happen, and gives the call after it; null where there is none. */
  act(id: string, action: Action, nowMs: number): Promise<CallRecord | Refusal | null>;
  find(id: string): Awaitable<CallRecord | null>;
  list(page: CallPage): Awaitable<Array<{ key: number; record: CallRecord }>>;
  /** Those that ring for this person, or that they are in, the latest first. */
  liveOf(identity: string): Awaitable<CallRecord[]>;
  /** Lets happen what is due, and takes what LiveKit has to be told of it; see call-works.ts. */
  takeDue(nowMs: number, afterKey: number): Promise<Due>;
  /** @param present identities whom LiveKit has in the room */
  settleAbsence(absent: Absent, present: readonly string[], nowMs: number): Promise<void>;
  /** LiveKit has done it. */
  noteDone(chores: Chores): Promise<void>;
  /** When the next thing happens by itself; null: nothing does. */
  nextDeadline(): Awaitable<number | null>;
  /** Is called when somebody has changed a call: the next deadline may be another. */
  watch(listener: () => void): void;
}

/** Who calls looks who is in other calls: they wait for each other, and go together, instead of getting in each other's way. */
const SUBJECT = 'calls';

/** The calls of a store. */
export function createCallStore({ read, commit }: Pick<Database, 'read' | 'commit'>): CallStore {
  let watcher: (() => void) | null = null;
  const telling = async <T>(result: Promise<T>): Promise<T> => {
    const value = await result;
    watcher?.();
    return value;
  };
  return {
    watch(listener) {
      watcher = listener;
    },
    add: (room, call, once) => telling(commit(() => works.addCall(room, call, once), SUBJECT)),
    invite: (id, invitation, nowMs) => telling(commit(() => works.invite(id, invitation, nowMs), SUBJECT)),
    act: (id, action, nowMs) => telling(commit(() => works.act(id, action, nowMs), SUBJECT)),
    find: (id) => read(() => rows.findCall(id)),
    list: (page) => read(() => rows.listCalls(page)),
    liveOf: (identity) => read(() => rows.liveCallsOf(identity)),
    takeDue: (nowMs, afterKey) => commit(() => works.takeDue(nowMs, afterKey), SUBJECT),
    settleAbsence: (absent, present, nowMs) => commit(() => works.settleAbsence(absent, present, nowMs), SUBJECT),
    noteDone: (chores) => commit(() => works.noteDone(chores), SUBJECT),
    nextDeadline: () => read(rows.nextDeadline),
  };
}
