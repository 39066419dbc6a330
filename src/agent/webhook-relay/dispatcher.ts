import type { Logger } from 'pino';
import { errorCode, sendRequest } from '../../clients/http-request.ts';
import type { Delivery, Lane, WebhookStore } from './store.ts';
import { createWays } from './ways.ts';
import type { Gateway } from './ways.ts';
import { parseWebhookEvent } from '../../contract/webhook-event.ts';
import { signWebhook, tokenExpiryMs } from '../../clients/livekit-token.ts';

/** A receiver has this long to answer. */
const ATTEMPT_TIMEOUT_MS = 10_000;
export const GIVE_UP_AFTER_MS = 24 * 3600 * 1000;
/** The receiver read this event and will never take it. All else may pass: 401 and 403 when keys have been changed everywhere, 404 when the service is back. */
const FINAL_STATUSES: ReadonlySet<number> = new Set([400, 413, 422]);
/** Rooms that one URL may be busy with at a time: so many hung rooms it takes to delay the others of that URL. */
const LANES_PER_URL = 32;
/** A token is renewed when it would end while the receiver looks at it. */
const EXPIRY_MARGIN_MS = 15_000;

/** Where events go. */
export interface Targets {
  readonly urls: readonly string[];
  /** The gateway machine, which URLs of its domain lead to; null where nothing is known of it. */
  readonly gateway: Gateway | null;
}

export interface DispatcherOptions {
  readonly store: WebhookStore;
  readonly signing: { readonly apiKey: string; readonly secret: string };
  readonly log: Logger;
  /** Milliseconds since 1970. */
  readonly nowMs: () => number;
  /** The pause after the n-th failure in a row (from 1). */
  readonly backoffMs?: (failures: number) => number;
  readonly attemptTimeoutMs?: number;
}

/** Delivers what the store holds. */
export interface Dispatcher {
  /** Says that the store holds something new for these lanes. */
  wake(lanes: readonly Lane[]): void;
  /** Sends to these URLs from now on, what waits at once. The store has been redirected before. */
  redirect(targets: Targets): void;
  /** Begins no attempt until `resume`, which tries at once what waits. */
  hold(): void;
  resume(): void;
  /** Breaks off the attempts under way, whose rows stay. */
  stop(): Promise<void>;
}

interface LaneState extends Lane {
  failures: number;
}

interface Failure {
  readonly problem: string;
  /** True where to try again is no use. */
  readonly isFinal: boolean;
}

interface UrlState {
  active: number;
  readonly ready: LaneState[];
}

/** Half a second, doubled with each failure, a minute at most. */
export function defaultBackoffMs(failures: number): number {
  return Math.min(500 * 2 ** Math.min(failures - 1, 10), 60_000);
}

/** Sends nothing before the first `redirect`. One lane's deliveries are made strictly in their order; lanes wait for no other lane. */
export function startDispatcher(options: DispatcherOptions): Dispatcher {
  const { store, log, nowMs } = options;
  const backoffMs = options.backoffMs ?? defaultBackoffMs;
  const abort = new AbortController();
  const urls = new Map<string, UrlState>();
  let wayOf = createWays(null);
  /** Lanes that are ready, busy or waiting for their next attempt. */
  const lanes = new Map<string, LaneState>();
  const waiting = new Map<LaneState, NodeJS.Timeout>();
  const attempts = new Set<Promise<void>>();
  let isHeld = false;

  const mayBegin = (): boolean => !isHeld && !abort.signal.aborted;
  const wake = (woken: readonly Lane[]): void => {
    for (const { url, room } of woken) {
      const key = keyOf({ url, room });
      if (lanes.has(key) || !urls.has(url)) continue;
      const lane: LaneState = { url, room, failures: 0 };
      lanes.set(key, lane);
      enqueue(lane);
    }
  };
  const enqueue = (lane: LaneState): void => {
    // Its URL may have been taken away, and come back with a lane of its own.
    if (lanes.get(keyOf(lane)) !== lane) return;
    urls.get(lane.url)?.ready.push(lane);
    pump(lane.url);
  };
  const pump = (url: string): void => {
    const state = urls.get(url);
    if (state === undefined) return;
    while (mayBegin() && state.active < LANES_PER_URL) {
      const lane = state.ready.shift();
      if (lane === undefined) return;
      state.active += 1;
      const attempt = advance(lane)
        .catch((error: unknown) => retryLater(lane, String(error)))
        .finally(() => {
          state.active -= 1;
          attempts.delete(attempt);
          pump(url);
        });
      attempts.add(attempt);
    }
  };
  /** One attempt at the lane's oldest delivery; afterwards the lane is gone, ready again, or waiting. */
  const advance = async (lane: LaneState): Promise<void> => {
    const delivery = store.head(lane);
    if (delivery === null) {
      if (lanes.get(keyOf(lane)) === lane) lanes.delete(keyOf(lane));
      return;
    }
    const failure = await attemptDelivery(lane, delivery);
    if (abort.signal.aborted && failure !== null) return;
    const isTooOld = nowMs() - delivery.receivedAtMs >= GIVE_UP_AFTER_MS;
    if (failure === null || failure.isFinal || isTooOld) {
      store.remove(delivery.id);
      lane.failures = 0;
      if (failure !== null) {
        const about = { origin: new URL(lane.url).origin, eventId: parseWebhookEvent(delivery.body)?.id, problem: failure.problem };
        log.error(about, failure.isFinal ? 'webhook dropped: its receiver refuses it for good' : 'webhook given up after 24 h');
      }
      enqueue(lane);
      return;
    }
    retryLater(lane, failure.problem);
  };
  const retryLater = (lane: LaneState, problem: string): void => {
    if (abort.signal.aborted) return;
    lane.failures += 1;
    log[lane.failures === 1 ? 'warn' : 'debug']({ origin: new URL(lane.url).origin, problem, failures: lane.failures }, 'webhook not delivered');
    const timer = setTimeout(() => {
      waiting.delete(lane);
      enqueue(lane);
    }, backoffMs(lane.failures));
    waiting.set(lane, timer);
  };
  const retryNow = (): void => {
    for (const [lane, timer] of waiting) {
      clearTimeout(timer);
      waiting.delete(lane);
      enqueue(lane);
    }
  };
  const attemptDelivery = async ({ url, failures }: LaneState, delivery: Delivery): Promise<Failure | null> => {
    const isExpiring = tokenExpiryMs(delivery.authorization) - EXPIRY_MARGIN_MS <= nowMs();
    const authorization = isExpiring ? signWebhook(delivery.body, { ...options.signing, nowMs: nowMs() }) : delivery.authorization;
    try {
      const headers = { 'content-type': 'application/webhook+json', authorization };
      const timeoutMs = options.attemptTimeoutMs ?? ATTEMPT_TIMEOUT_MS;
      const request = { method: 'POST', headers, body: delivery.body, timeoutMs, maxBodyBytes: 1024, signal: abort.signal } as const;
      const answer = await sendRequest({ url, ...request, ...wayOf(url, failures) });
      if (answer.status >= 200 && answer.status < 300) return null;
      return { problem: `status ${answer.status}`, isFinal: FINAL_STATUSES.has(answer.status) };
    } catch (error) {
      // Every way not to answer is retried alike.
      return { problem: errorCode(error), isFinal: false };
    }
  };

  return {
    wake,
    redirect(targets) {
      wayOf = createWays(targets.gateway);
      for (const url of urls.keys()) if (!targets.urls.includes(url)) urls.delete(url);
      for (const [key, lane] of lanes) if (!urls.has(lane.url)) lanes.delete(key);
      for (const url of targets.urls) if (!urls.has(url)) urls.set(url, { active: 0, ready: [] });
      retryNow();
      wake(store.lanes());
    },
    hold() {
      isHeld = true;
    },
    resume() {
      if (!isHeld) return;
      isHeld = false;
      retryNow();
      for (const url of urls.keys()) pump(url);
    },
    async stop() {
      abort.abort();
      for (const timer of waiting.values()) clearTimeout(timer);
      await Promise.all(attempts);
    },
  };
}

function keyOf(lane: Lane): string {
  return `${lane.url}\n${lane.room}`;
}
