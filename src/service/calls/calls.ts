import { hash, randomUUID } from 'node:crypto';
import type * as z from 'zod';
import type { acceptSchema, CallView, cancelSchema, inviteSchema, SyncView } from '../../contract/calls.ts';
import type { createCallSchema, JoinView } from '../../contract/rooms.ts';
import { HttpProblem } from '../problem.ts';
import type { Rooms } from '../rooms/rooms.ts';
import type { CallPage, CallRecord } from '../store/call-rows.ts';
import type { Store } from '../store/store.ts';
import { checkAdmission, done, found } from './admission.ts';
import type { Action } from './call-machine.ts';
import { isInside } from './call.ts';
import { callViewOf } from './call-view.ts';

/** The use-cases of calls. `by` is the person who acts, which whoever lets a request in has checked. All throw HttpProblem. */
export interface Calls {
  /** @param idempotencyKey the same request with the same key, within a day, makes no second call */
  create(wanted: z.infer<typeof createCallSchema>, idempotencyKey?: string): Promise<CallView>;
  invite(id: string, invitation: z.infer<typeof inviteSchema>): Promise<CallView>;
  /** @param isPlain as for Rooms.join */
  accept(id: string, wanted: z.infer<typeof acceptSchema>, isPlain: boolean): Promise<JoinView>;
  reject(id: string, by: string): Promise<CallView>;
  cancel(id: string, wanted: z.infer<typeof cancelSchema>): Promise<CallView>;
  leave(id: string, by: string): Promise<CallView>;
  /** @param by null: the operator */
  end(id: string, by: string | null): Promise<CallView>;
  /** @param by whose it has to be; null: anybody's */
  read(id: string, by: string | null): Promise<CallView>;
  /** True where this person is one of the call, also one that is over for them. */
  hasParty(id: string, identity: string): Promise<boolean>;
  /** Gives each with its number, by which the next page is asked for. */
  list(page: CallPage): Promise<Array<{ key: number; view: CallView }>>;
  /** What rings for this person, and what they are in, with fresh tokens. */
  sync(identity: string, isPlain: boolean): Promise<SyncView>;
}

/** As telephones do; */
const RING_SECONDS = 60;
/** a client that loses its network gives up, or enters anew, within this. */
const GRACE_SECONDS = 20;
const ALL = { canPublish: true, canSubscribe: true, canPublishData: true } as const;

/** @param deps.now milliseconds since the epoch */
export function createCalls({ store, rooms, now }: { store: Store; rooms: Rooms; now: () => number }): Calls {
  async function act(id: string, action: Exclude<Action, { kind: 'invite' }>): Promise<CallView> {
    const by = 'by' in action ? action.by : null;
    return callViewOf(done(await store.calls.act(id, action, now()), id, by));
  }

  /** Null where LiveKit does not answer now: what rings is to be known also then. */
  async function tryJoining({ room, call }: CallRecord, identity: string, isPlain: boolean): Promise<JoinView | null> {
    if (!isInside(call.parties.find((one) => one.identity === identity)?.state ?? 'left')) return null;
    try {
      return await rooms.enter(room, { identity, ...ALL }, isPlain);
    } catch (error) {
      if (error instanceof HttpProblem) return null;
      throw error;
    }
  }

  return {
    async create(wanted, idempotencyKey) {
      const id = wanted.id ?? `c-${randomUUID()}`;
      const { name = id, type, maxParticipants = 0, emptyTimeout = null, metadata = '' } = wanted;
      const { caller, invitees, mode, ringTimeout = RING_SECONDS, reconnectGrace = GRACE_SECONDS, busy = 'reject' } = wanted;
      const people = new Set([caller, ...invitees]).size;
      const call = {
        caller,
        invitees,
        mode: mode ?? (people > 2 ? 'group' : 'direct'),
        ringMs: ringTimeout * 1000,
        graceMs: reconnectGrace * 1000,
        busy,
      } as const;
      const once = idempotencyKey === undefined ? null : { key: idempotencyKey, request: hash('sha256', JSON.stringify(wanted), 'hex') };
      const made = await store.calls.add({ id, name, type, maxParticipants, emptyTimeout, metadata, createdAtMs: now() }, call, once);
      if (made === 'mismatch') throw new HttpProblem('IDEMPOTENCY_MISMATCH', { key: idempotencyKey ?? '' });
      if (made === null) throw new HttpProblem('ROOM_EXISTS', { id });
      return callViewOf(done(made, id, caller));
    },
    invite: async (id, invitation) => callViewOf(done(await store.calls.invite(id, invitation, now()), id, invitation.by)),
    async accept(id, { by, name, metadata }, isPlain) {
      await checkAdmission(store, id, { by, nowMs: now() });
      return rooms.join(id, { identity: by, name, metadata, ...ALL }, isPlain);
    },
    reject: (id, by) => act(id, { kind: 'reject', by }),
    cancel: (id, { by, identities = null }) => act(id, { kind: 'cancel', by, identities }),
    leave: (id, by) => act(id, { kind: 'leave', by }),
    end: (id, by) => act(id, { kind: 'end', by }),
    async read(id, by) {
      const record = found(await store.calls.find(id), id);
      return callViewOf(found(by === null || isOf(record, by) ? record : null, id));
    },
    async hasParty(id, identity) {
      const record = await store.calls.find(id);
      return record !== null && isOf(record, identity);
    },
    list: async (page) => (await store.calls.list(page)).map(({ key, record }) => ({ key, view: callViewOf(record) })),
    async sync(identity, isPlain) {
      const records = await store.calls.liveOf(identity);
      return { calls: await Promise.all(records.map(async (record) => ({ call: callViewOf(record), join: await tryJoining(record, identity, isPlain) }))) };
    },
  };
}

function isOf({ call }: CallRecord, by: string): boolean {
  return call.parties.some(({ identity }) => identity === by);
}
