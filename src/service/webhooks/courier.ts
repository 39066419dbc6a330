import { setTimeout as delay } from 'node:timers/promises';
import type { Endpoint, EndpointState } from '../store/endpoint-rows.ts';
import type { QueuedMessage } from '../store/queue-rows.ts';
import type { WebhookStore } from '../store/webhook-store.ts';
import { createLedger } from './ledger.ts';
import { nextAttempt, PATIENCE_MS } from './patience.ts';
import type { Answer, Sender } from './send.ts';
import { createTrouble } from './trouble.ts';

/** Takes one endpoint's messages to it: those of a room one after the other, of several rooms at a time. */
export interface Courier {
  /** There may be something new. */
  wake(): void;
  /** Takes up nothing more; resolves when what is under way has ended and is kept. */
  stop(): Promise<void>;
}

export interface CourierDeps {
  readonly endpoint: Endpoint;
  readonly state: EndpointState;
  readonly sender: Sender;
  readonly store: Pick<WebhookStore, 'queued' | 'queuedOfRoom' | 'settle'>;
  /** Null: this is the only service. Else false when another may have taken over. */
  readonly isHeld: (() => boolean) | null;
  readonly now: () => number;
  /** Between 0 and 1. */
  readonly random: () => number;
  readonly counters: CourierCounters;
  /** It answered 410: it wants no more. */
  readonly onGone: () => void;
  /** It has taken nothing for as long as a message is tried. */
  readonly onLost: () => void;
  readonly onError: (error: unknown) => void;
}

/** Attempts, and messages given up. */
export interface CourierCounters {
  delivered: number;
  failed: number;
  dead: number;
}

/** A room's messages, from the first that is not settled. */
interface Lane {
  readonly room: string;
  rows: QueuedMessage[];
  /** There are more in the database. */
  hasMore: boolean;
  /** One was left there since it was read last. */
  isPassed: boolean;
}

/** Rooms at a time. */
export const CONNECTIONS = 32;
/** Messages in memory, of one read, and of one room. */
const WINDOW = 2_000;
const BATCH = 500;
const OF_ROOM = 64;
/** Rooms whose first message failed: a message is a kilobyte. */
const MOST_WAITING = 5_000;
/** How long another service's transaction may be under way, and how often what it left is looked for. */
const LATE_MS = 10_000;
const LATE_LOOK_MS = 1_000;
/** After the database failed. */
const AGAIN_MS = 1_000;
const KEEP_AT_STOP_MS = 3_000;

export function createCourier(deps: CourierDeps): Courier {
  const { endpoint, sender, store, isHeld, now, random, counters, onError } = deps;
  const lanes = new Map<string, Lane>();
  const ready: Lane[] = [];
  const waiting = new Set<Lane>();
  /** What is in memory, or has just left it, by seq. */
  const known = new Set<number>();
  const underWay = new Set<Promise<void>>();
  const trouble = createTrouble(deps);
  const ledger = createLedger({ endpoint: endpoint.id, store, takeState: trouble.takeState, onGone: forget, onError });
  let [lastSeq, isBehind, isReading, isStopped] = [0, true, false, false];
  let timer: { readonly atMs: number; readonly handle: NodeJS.Timeout } | null = null;
  /** How far was read, at some times of the last seconds. */
  let marks: Array<{ readonly atMs: number; readonly seq: number }> = [];

  /** Reads what has come, as far as there is room. */
  async function read(): Promise<void> {
    if (isReading || isStopped || !hasPlace(WINDOW / 2)) return;
    isReading = true;
    try {
      while (isBehind && hasPlace(WINDOW)) {
        isBehind = false;
        const rows = await store.queued(endpoint.id, isHeld === null ? lastSeq : beforeLate(), BATCH);
        isBehind ||= rows.length === BATCH;
        for (const row of rows) take(row);
        lastSeq = Math.max(lastSeq, rows.at(-1)?.seq ?? 0);
      }
    } catch (error) {
      onError(error);
      isBehind = true;
      lookAt(now() + AGAIN_MS);
    }
    isReading = false;
    pump();
  }

  /** What has left the queue makes place for what was not read. */
  function forget(seqs: readonly number[]): void {
    for (const seq of seqs) known.delete(seq);
    pump();
  }

  /** Rooms whose first message waits for its time hold up no other's. */
  function hasPlace(most: number): boolean {
    return known.size - waiting.size < most && waiting.size < MOST_WAITING;
  }

  /** What other services began before, they may commit after what is known already: a little is read again, for a while. */
  function beforeLate(): number {
    const nowMs = now();
    if (nowMs - (marks.at(-1)?.atMs ?? 0) < LATE_LOOK_MS) return lastSeq;
    marks = [...marks.filter(({ atMs }) => nowMs - atMs < LATE_MS), { atMs: nowMs, seq: lastSeq }];
    return marks[0]?.seq ?? lastSeq;
  }

  function take(row: QueuedMessage): void {
    if (known.has(row.seq)) return;
    const lane = lanes.get(row.room);
    // A room that waits takes no other's place: only its first is in memory.
    if (lane !== undefined && (lane.hasMore || lane.rows.length >= OF_ROOM || waiting.has(lane))) {
      [lane.hasMore, lane.isPassed] = [true, true];
      return;
    }
    known.add(row.seq);
    if (lane === undefined) place({ room: row.room, rows: [row], hasMore: false, isPassed: false });
    else lane.rows.push(row);
  }

  /** Puts a lane where its first message belongs. */
  function place(lane: Lane): void {
    const [head] = lane.rows;
    lanes.set(lane.room, lane);
    if (head === undefined) {
      if (lane.hasMore) void reload(lane);
      else lanes.delete(lane.room);
    } else if (head.dueAtMs > now()) {
      waiting.add(lane);
      lookAt(head.dueAtMs);
    } else ready.push(lane);
  }

  /** Reads a room's next messages, once those before are out of the database. */
  async function reload(lane: Lane): Promise<void> {
    try {
      await ledger.kept();
      lane.isPassed = false;
      const rows = await store.queuedOfRoom(endpoint.id, lane.room, { seq: 0, limit: OF_ROOM });
      for (const { seq } of rows) known.add(seq);
      lane.rows = rows;
      lane.hasMore = rows.length === OF_ROOM || lane.isPassed;
      place(lane);
    } catch (error) {
      onError(error);
      setTimeout(() => void reload(lane), AGAIN_MS);
    }
    pump();
  }

  function pump(): void {
    if (isStopped) return;
    const nowMs = now();
    if (nowMs < trouble.pausedUntilMs()) lookAt(trouble.pausedUntilMs());
    else if (isHeld === null || isHeld()) {
      const most = trouble.isInTrouble() ? 1 : CONNECTIONS;
      // One in trouble is asked by what was to be tried soonest, though its time has not come.
      const first = trouble.isInTrouble() && ready.length === 0 && underWay.size === 0 ? soonest() : null;
      if (first !== null) readyNow(first);
      for (let lane = underWay.size < most ? ready.shift() : undefined; lane !== undefined; lane = underWay.size < most ? ready.shift() : undefined)
        begin(lane);
    }
    if (isBehind) void read();
  }

  function soonest(): Lane | null {
    let first: Lane | null = null;
    for (const lane of waiting) if (first === null || dueOf(lane) < dueOf(first)) first = lane;
    return first;
  }

  function readyNow(lane: Lane): void {
    waiting.delete(lane);
    ready.push(lane);
  }

  function begin(lane: Lane): void {
    const [row] = lane.rows;
    if (row === undefined) return;
    const sent = sender.send(row).then((answer) => {
      underWay.delete(sent);
      // Cut by the stop itself: nobody knows.
      if (isStopped && answer.status === 0) return;
      note(lane, row, answer);
      if (isStopped) return;
      place(lane);
      pump();
    });
    underWay.add(sent);
  }

  function note(lane: Lane, row: QueuedMessage, answer: Answer): void {
    if (answer.status >= 200 && answer.status < 300) {
      counters.delivered++;
      lane.rows.shift();
      // The others failed with the endpoint, not by themselves.
      if (trouble.succeeded()) for (const one of waiting) readyNow(one);
      ledger.delivered(row.seq);
      return;
    }
    counters.failed++;
    trouble.failed(answer);
    const nowMs = now();
    const [attempts, error] = [row.attempts + 1, answer.error ?? `HTTP ${answer.status}`];
    const next = nextAttempt({ ...row, attempts }, { nowMs, retryAfterMs: answer.retryAfterMs, random: random() });
    if (next === null) {
      counters.dead++;
      lane.rows.shift();
      ledger.dead({ seq: row.seq, attempts, error, atMs: nowMs });
    } else {
      for (const { seq } of lane.rows.slice(1)) known.delete(seq);
      lane.hasMore ||= lane.rows.length > 1;
      lane.rows = [{ ...row, attempts, dueAtMs: next }];
      ledger.delayed({ seq: row.seq, attempts, error, atMs: next });
    }
    if (answer.status === 410) deps.onGone();
    else if (nowMs - (trouble.failingSinceMs() ?? nowMs) >= PATIENCE_MS) deps.onLost();
  }

  function lookAt(atMs: number): void {
    if (isStopped || (timer !== null && timer.atMs <= atMs)) return;
    if (timer !== null) clearTimeout(timer.handle);
    const look = (): void => {
      timer = null;
      for (const lane of waiting) if (dueOf(lane) <= now()) readyNow(lane);
      const next = soonest();
      if (next !== null) lookAt(dueOf(next));
      pump();
    };
    timer = { atMs, handle: setTimeout(look, Math.max(1, atMs - now())) };
  }

  return {
    wake() {
      isBehind = true;
      // Also what was read before: it may have waited for the endpoint to be ours again.
      pump();
    },
    async stop() {
      isStopped = true;
      if (timer !== null) clearTimeout(timer.handle);
      await Promise.all(underWay);
      // A disk that takes nothing holds up no stop: what is not kept is sent again.
      await Promise.race([ledger.kept(), delay(KEEP_AT_STOP_MS, undefined, { ref: false })]);
    },
  };
}

function dueOf({ rows: [head] }: Lane): number {
  return head?.dueAtMs ?? 0;
}
