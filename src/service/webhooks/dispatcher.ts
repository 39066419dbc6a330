import { randomUUID } from 'node:crypto';
import type { Endpoint } from '../store/endpoint-rows.ts';
import type { WebhookStore } from '../store/webhook-store.ts';
import { CONNECTIONS, createCourier } from './courier.ts';
import type { Courier, CourierCounters } from './courier.ts';
import { PATIENCE_MS } from './patience.ts';
import { createSender } from './send.ts';
import type { Sender } from './send.ts';

/** Sends what is queued: a courier for every endpoint that is switched on, and that is no other service's. */
export interface Dispatcher {
  /** There may be something new in the queue. */
  wake(): void;
  /** Endpoints may have changed. */
  refresh(): Promise<void>;
  /** Resolves when nothing is under way; what takes longer than a moment is cut, and sent again by who comes next. */
  stop(): Promise<void>;
}

export interface DispatcherDeps {
  readonly store: WebhookStore;
  readonly allowsHttp: boolean;
  /** True where other services may use the same database. */
  readonly isShared: boolean;
  readonly now: () => number;
  readonly counters: CourierCounters;
  readonly log: { warn(what: object, text: string): void };
}

interface Running {
  readonly endpoint: Endpoint;
  readonly courier: Courier;
  readonly sender: Sender;
}

/** A service that died is replaced after so long; clocks of one fleet differ by less than the margin. */
const CLAIM_MS = 15_000;
const MARGIN_MS = 4_000;
const CLAIM_EVERY_MS = 4_000;
/** What other services queued is looked for this often. */
const LOOK_EVERY_MS = 500;
/** An answer under way at the stop. */
const STOP_MS = 3_000;
const GIVE_UP_AT_A_TIME = 200;
const GIVE_UP_EVERY_MS = 3_600_000;

export function createDispatcher({ store, allowsHttp, isShared, now, counters, log }: DispatcherDeps): Dispatcher {
  const running = new Map<string, Running>();
  const heldUntilMs = new Map<string, number>();
  const gaveUpAtMs = new Map<string, number>();
  const name = randomUUID();
  const timers = isShared ? [setInterval(() => void refresh(), CLAIM_EVERY_MS), setInterval(wake, LOOK_EVERY_MS)] : [];
  let work = Promise.resolve();
  let isStopped = false;

  function wake(): void {
    for (const { courier } of running.values()) courier.wake();
  }

  /** One after the other. */
  function then(step: () => Promise<void>): Promise<void> {
    work = work.then(async () => {
      if (!isStopped) await step().catch((error: unknown) => log.warn({ err: error }, 'webhook endpoints not looked at'));
    });
    return work;
  }

  function refresh(): Promise<void> {
    return then(async () => {
      const endpoints = await store.list();
      const wanted = new Map<string, Endpoint>();
      for (const endpoint of endpoints) if (endpoint.isEnabled && (await hold(endpoint.id))) wanted.set(endpoint.id, endpoint);
      await Promise.all(
        [...running].map(async ([id, { endpoint }]) => {
          const next = wanted.get(id);
          if (next === undefined || JSON.stringify(next) !== JSON.stringify(endpoint)) await halt(id);
        }),
      );
      for (const endpoint of wanted.values()) if (!running.has(endpoint.id)) await start(endpoint);
    });
  }

  async function hold(id: string): Promise<boolean> {
    if (!isShared) return true;
    const nowMs = now();
    const untilMs = nowMs + CLAIM_MS;
    const isOurs = await store.claim(id, { by: name, untilMs, nowMs });
    heldUntilMs.set(id, isOurs ? untilMs - MARGIN_MS : 0);
    return isOurs;
  }

  async function start(endpoint: Endpoint): Promise<void> {
    const { id } = endpoint;
    const sender = createSender(endpoint, { connections: CONNECTIONS, allowsHttp, now });
    const courier = createCourier({
      endpoint,
      sender,
      state: await store.stateOf(id),
      store,
      isHeld: isShared ? () => now() < (heldUntilMs.get(id) ?? 0) : null,
      now,
      random: Math.random,
      counters,
      onGone: () => void then(() => disable(id)),
      onLost: () => void then(() => giveUp(endpoint)),
      onError: (error) => log.warn({ err: error, endpoint: id }, 'queue of a webhook endpoint not read or written'),
    });
    running.set(id, { endpoint, courier, sender });
    courier.wake();
  }

  async function halt(id: string): Promise<void> {
    const one = running.get(id);
    if (one === undefined) return;
    running.delete(id);
    const cut = setTimeout(one.sender.close, STOP_MS);
    await one.courier.stop();
    clearTimeout(cut);
    one.sender.close();
  }

  async function disable(id: string): Promise<void> {
    if (!running.has(id)) return;
    await halt(id);
    await store.change(id, { isEnabled: false, disabledReason: 'gone' });
    log.warn({ endpoint: id }, 'webhook endpoint answered 410 and is switched off');
  }

  /** All that has waited for so long has, as it were, been tried all the time. */
  async function giveUp(endpoint: Endpoint): Promise<void> {
    const nowMs = now();
    if (running.get(endpoint.id)?.endpoint !== endpoint || nowMs - (gaveUpAtMs.get(endpoint.id) ?? 0) < GIVE_UP_EVERY_MS) return;
    gaveUpAtMs.set(endpoint.id, nowMs);
    await halt(endpoint.id);
    const error = 'UNREACHABLE';
    let count = 0;
    do {
      count = await store.giveUp(endpoint.id, { beforeMs: nowMs - PATIENCE_MS, nowMs, error, limit: GIVE_UP_AT_A_TIME });
      counters.dead += count;
    } while (count > 0);
    await start(endpoint);
  }

  return {
    wake,
    refresh,
    async stop() {
      isStopped = true;
      for (const timer of timers) clearInterval(timer);
      await work;
      await Promise.all([...running.keys()].map(halt));
      if (isShared) await store.release(name).catch((error: unknown) => log.warn({ err: error }, 'webhook endpoints not given back'));
    },
  };
}
