import type { Awaitable, Database } from './database.ts';
import * as endpoints from './endpoint-rows.ts';
import type { Endpoint, EndpointState } from './endpoint-rows.ts';
import * as queue from './queue-rows.ts';
import type { DeadLetter, QueuedMessage, Settlement } from './queue-rows.ts';

/** The durable state of outgoing webhooks. */
export interface WebhookStore {
  add(endpoint: Endpoint): Promise<void>;
  /** Null where there is none. */
  change(id: string, wanted: Partial<Endpoint>): Promise<Endpoint | null>;
  remove(id: string): Promise<boolean>;
  find(id: string): Awaitable<Endpoint | null>;
  list(): Awaitable<Endpoint[]>;
  conditionOf(id: string): Awaitable<EndpointState & { waiting: number; dead: number }>;
  stateOf(id: string): Awaitable<EndpointState>;
  /** False while the endpoint is another service's. */
  claim(id: string, claim: { by: string; untilMs: number; nowMs: number }): Promise<boolean>;
  release(by: string): Promise<void>;
  queued(endpoint: string, seq: number, limit: number): Awaitable<QueuedMessage[]>;
  queuedOfRoom(endpoint: string, room: string, page: { seq: number; limit: number }): Awaitable<QueuedMessage[]>;
  /** @param state where that changed too */
  settle(endpoint: string, settlement: Settlement, state: EndpointState | null): Promise<void>;
  giveUp(endpoint: string, which: { beforeMs: number; nowMs: number; error: string; limit: number }): Promise<number>;
  deadLetters(endpoint: string, seq: number, limit: number): Awaitable<DeadLetter[]>;
  replay(endpoint: string, which: queue.ReplayWanted): Promise<queue.ReplayedPart>;
}

/** Over the service's database. */
export function createWebhookStore({ read, commit }: Pick<Database, 'read' | 'commit'>): WebhookStore {
  return {
    add: (endpoint) => commit(() => endpoints.addEndpoint(endpoint)),
    change: (id, wanted) => commit(() => endpoints.changeEndpoint(id, wanted)),
    remove: (id) => commit(() => endpoints.removeEndpoint(id)),
    find: (id) => read(() => endpoints.findEndpoint(id)),
    list: () => read(endpoints.listEndpoints),
    conditionOf: (id) => read(() => endpoints.conditionOf(id)),
    stateOf: (id) => read(() => endpoints.stateOf(id)),
    claim: (id, claim) => commit(() => endpoints.claimEndpoint(id, claim)),
    release: (by) => commit(() => endpoints.releaseEndpoints(by)),
    queued: (endpoint, seq, limit) => read(() => queue.queuedAfter(endpoint, seq, limit)),
    queuedOfRoom: (endpoint, room, page) => read(() => queue.queuedOfRoom(endpoint, room, page)),
    settle: (endpoint, settlement, state) =>
      commit(function* () {
        yield* queue.settle(settlement);
        if (state !== null) yield* endpoints.noteState(endpoint, state);
      }),
    giveUp: (endpoint, which) => commit(() => queue.giveUp(endpoint, which)),
    deadLetters: (endpoint, seq, limit) => read(() => queue.deadLetters(endpoint, seq, limit)),
    replay: (endpoint, which) => commit(() => queue.replay(endpoint, which)),
  };
}
