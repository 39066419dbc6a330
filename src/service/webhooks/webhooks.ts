import { randomUUID } from 'node:crypto';
import type * as z from 'zod';
import type {
  createWebhookSchema,
  DeadLetterView,
  replaySchema,
  rotateSecretSchema,
  SecretView,
  TestView,
  updateWebhookSchema,
  WebhookView,
} from '../../contract/webhooks.ts';
import type { ServiceConfig } from '../config.ts';
import { HttpProblem } from '../problem.ts';
import type { Endpoint } from '../store/endpoint-rows.ts';
import type { DeadLetter } from '../store/queue-rows.ts';
import type { Store } from '../store/store.ts';
import { addressIn, refusalOf } from './address.ts';
import type { CourierCounters } from './courier.ts';
import { createDispatcher } from './dispatcher.ts';
import type { Dispatcher } from './dispatcher.ts';
import { createSender } from './send.ts';
import { makeSecret } from './sign.ts';

/** The use-cases of outgoing webhooks. All throw HttpProblem. */
export interface Webhooks {
  create(wanted: z.infer<typeof createWebhookSchema>): Promise<SecretView>;
  list(): Promise<WebhookView[]>;
  read(id: string): Promise<WebhookView>;
  update(id: string, wanted: z.infer<typeof updateWebhookSchema>): Promise<WebhookView>;
  remove(id: string): Promise<void>;
  rotate(id: string, wanted: z.infer<typeof rotateSecretSchema>): Promise<SecretView>;
  /** Sends one message at once, whatever waits. */
  test(id: string): Promise<TestView>;
  deadLetters(id: string, page: { limit: number; cursor: number }): Promise<DeadLetterView[]>;
  /** Gives how many are queued again. */
  replay(id: string, wanted: z.infer<typeof replaySchema>): Promise<number>;
  /** Begins to send what is queued, where there is an endpoint. */
  start(): Promise<void>;
  stop(): Promise<void>;
  /** Attempts since the start. */
  readonly counters: Readonly<CourierCounters>;
}

interface WebhooksDeps {
  readonly config: ServiceConfig;
  readonly store: Store;
  readonly now: () => number;
  readonly log: { warn(what: object, text: string): void };
}

const REPLAY_AT_A_TIME = 200;
const HOUR_MS = 3_600_000;

export function createWebhooks({ config, store: { webhooks: store, isShared, watch }, now, log }: WebhooksDeps): Webhooks {
  const allowsHttp = config.webhookHttp === 'any';
  const counters = { delivered: 0, failed: 0, dead: 0 };
  let dispatcher: Dispatcher | null = null;
  let isStopped = false;

  const found = async (id: string): Promise<Endpoint> => (await store.find(id)) ?? missing(id);
  const view = async (endpoint: Endpoint): Promise<WebhookView> => viewOf(endpoint, await store.conditionOf(endpoint.id), now());

  /** Nothing runs, and nobody watches, before there is somebody to send to. */
  async function refresh(): Promise<void> {
    if (isStopped) return;
    dispatcher ??= createDispatcher({ store, allowsHttp, isShared, now, counters, log });
    watch(dispatcher.wake);
    await dispatcher.refresh();
  }

  async function change(id: string, wanted: Partial<Endpoint>): Promise<Endpoint> {
    const changed = (await store.change(id, wanted)) ?? missing(id);
    await refresh();
    return changed;
  }

  function checkUrl(url: string): void {
    const address = addressIn(url);
    const refusal = address === null ? null : refusalOf(address, { isTls: url.startsWith('https:'), allowsHttp });
    if (refusal !== null) throw new HttpProblem('WEBHOOK_ADDRESS', { url, reason: refusal });
  }

  return {
    counters,
    async create({ url, description, events, secret = makeSecret(), timeoutMs, enabled }) {
      checkUrl(url);
      const id = `we_${randomUUID()}`;
      const fixed = { id, former: null, disabledReason: null, createdAtMs: now() };
      const endpoint = { ...fixed, url, description, events: events.join(','), secret, timeoutMs, isEnabled: enabled };
      await store.add(endpoint);
      await refresh();
      return { ...(await view(endpoint)), secret };
    },
    list: async () => Promise.all((await store.list()).map(view)),
    read: async (id) => view(await found(id)),
    async update(id, wanted) {
      const { url, description, timeoutMs, events, enabled } = wanted;
      if (url !== undefined) checkUrl(url);
      const changed = await change(id, {
        ...(url === undefined ? {} : { url }),
        ...(description === undefined ? {} : { description }),
        ...(timeoutMs === undefined ? {} : { timeoutMs }),
        ...(events === undefined ? {} : { events: events.join(',') }),
        ...(enabled === undefined ? {} : { isEnabled: enabled, disabledReason: null }),
      });
      return view(changed);
    },
    async remove(id) {
      if (!(await store.remove(id))) missing(id);
      await refresh();
    },
    async rotate(id, { secret = makeSecret(), overlapHours }) {
      const { secret: before } = await found(id);
      const former = overlapHours === 0 ? null : { secret: before, untilMs: now() + overlapHours * HOUR_MS };
      return { ...(await view(await change(id, { secret, former }))), secret };
    },
    async test(id) {
      const endpoint = await found(id);
      const sender = createSender(endpoint, { connections: 1, allowsHttp, now });
      const message = `msg_test_${randomUUID()}`;
      const beganMs = performance.now();
      const body = JSON.stringify({ type: 'webhook.test', timestamp: new Date(now()).toISOString(), data: { endpoint: id } });
      const { status, error } = await sender.send({ id: message, body });
      sender.close();
      return { ok: error === null, message, status, ms: Math.round(performance.now() - beganMs), error };
    },
    async deadLetters(id, { limit, cursor }) {
      await found(id);
      return (await store.deadLetters(id, cursor, limit)).map(letterOf);
    },
    async replay(id, { letters = null }) {
      await found(id);
      let [count, seq] = [0, letters === null ? 0 : Math.min(...letters) - 1];
      for (;;) {
        const part = await store.replay(id, { seq, limit: REPLAY_AT_A_TIME, letters, nowMs: now() });
        count += part.count;
        if (part.last === null || (letters !== null && part.last >= Math.max(...letters))) break;
        seq = part.last;
      }
      dispatcher?.wake();
      return count;
    },
    async start() {
      if (isShared || (await store.list()).length > 0) await refresh();
    },
    async stop() {
      isStopped = true;
      watch(null);
      await dispatcher?.stop();
    },
  };
}

function missing(id: string): never {
  throw new HttpProblem('WEBHOOK_NOT_FOUND', { id });
}

function viewOf(endpoint: Endpoint, condition: Awaited<ReturnType<Store['webhooks']['conditionOf']>>, nowMs: number): WebhookView {
  const { id, url, description, events, former, timeoutMs, isEnabled: enabled, disabledReason, createdAtMs } = endpoint;
  return {
    id,
    url,
    description,
    events: events.split(','),
    timeoutMs,
    enabled,
    disabledReason,
    createdAt: timeOf(createdAtMs),
    formerSecretUntil: former === null || former.untilMs <= nowMs ? null : timeOf(former.untilMs),
    failingSince: condition.failingSinceMs === null ? null : timeOf(condition.failingSinceMs),
    lastError: condition.error,
    waiting: condition.waiting,
    dead: condition.dead,
  };
}

function letterOf({ seq, id, type, room, queuedAtMs, atMs, attempts, error, body }: DeadLetter): DeadLetterView {
  const payload = JSON.parse(body) as Record<string, unknown>;
  return { letter: seq, message: id, type, room, queuedAt: timeOf(queuedAtMs), diedAt: timeOf(atMs), attempts, error, payload };
}

function timeOf(ms: number): string {
  return new Date(ms).toISOString();
}
