import type { Logger } from 'pino';
import type { WebhookConfig } from '../config.ts';
import { GIVE_UP_AFTER_MS, startDispatcher } from './dispatcher.ts';
import type { Dispatcher, Targets } from './dispatcher.ts';
import type { WebhookStore } from './store.ts';
import { parseWebhookEvent } from '../../contract/webhook-event.ts';
import type { WebhookEvent } from '../../contract/webhook-event.ts';
import { isWebhookTokenValid, signWebhook, signedBodyHash } from '../../clients/livekit-token.ts';

/** Longer than LiveKit retries (26 s) and than a delivery is tried (24 h). */
const REMEMBER_IDS_MS = 48 * 3600 * 1000;
const FORGET_PERIOD_MS = 3600 * 1000;
const ROOM_FINISHED = 'room_finished';
/** A line a minute says as much as one for each. */
const TELL_PERIOD_MS = 60_000;

export interface RelayOptions {
  readonly config: WebhookConfig;
  readonly store: WebhookStore;
  readonly log: Logger;
  readonly nowMs: () => number;
  readonly backoffMs?: (failures: number) => number;
  readonly attemptTimeoutMs?: number;
}

/** Takes LiveKit's webhooks and passes them on. */
export interface WebhookRelay {
  /** True where one of the keys signed this Authorization, whatever the body: what else comes is not worth reading. */
  isSigned(authorization: string): boolean;
  /** Gives the status to answer with: 200 once the event is on disk (or was before), 401 for a wrong signature, 400 for what is no event. */
  receive(body: Uint8Array, authorization: string): 200 | 400 | 401;
  /** Passes on an event that LiveKit could not send any more, signed as LiveKit's are; it is on disk when this returns. One of the same id is passed on once. */
  send(event: object): void;
  /** From now on events go there, and those that wait as well. */
  redirect(targets: Targets): void;
  /** How many deliveries are to be made, a thousand at most. */
  waiting(): number;
  /** Delivers nothing until `resume`; what comes is taken all the same. */
  hold(): void;
  resume(): void;
  /** Drops, as if they had never come, those of the events `room_finished` that wait for which `isUntrue` says so. Rejects where that does. */
  dropEnds(isUntrue: (event: WebhookEvent) => Promise<boolean>): Promise<void>;
  stop(): Promise<void>;
}

/** Starts passing on what the store holds; without URLs in the configuration once `redirect` names some. Takes over the store and closes it at the end. */
export function startWebhookRelay(options: RelayOptions): WebhookRelay {
  const { config, store, log, nowMs } = options;
  let urls: readonly string[] | null = null;
  const signing = { apiKey: config.signingKey, secret: config.keys[config.signingKey] ?? '' };
  const dispatcher: Dispatcher = startDispatcher({ ...options, signing });
  const redirect = (targets: Targets): void => {
    const dropped = store.redirect(targets.urls);
    if (dropped > 0) log.warn({ dropped }, 'webhooks dropped: their URL is no longer configured');
    urls = targets.urls;
    dispatcher.redirect(targets);
  };
  const accept = (event: WebhookEvent, body: Uint8Array, authorization: string): void => {
    const room = event.room?.name ?? event.egressInfo?.roomName ?? event.ingressInfo?.roomName ?? '';
    const isNew = store.accept({ eventId: event.id, room, body, authorization, receivedAtMs: nowMs() }, urls);
    if (isNew) dispatcher.wake((urls ?? []).map((url) => ({ url, room })));
  };
  const forget = (): void => {
    store.forgetSeen(nowMs() - REMEMBER_IDS_MS);
    const dropped = store.dropUndirected(nowMs() - GIVE_UP_AFTER_MS);
    if (dropped > 0) log.error({ dropped }, 'webhooks given up after 24 h: no receiver was ever named');
  };
  if (config.urls.length > 0) redirect({ urls: config.urls, gateway: null });
  forget();
  const tellCrowdedOut = (): void => {
    const dropped = store.takeCrowdedOut();
    if (dropped > 0) log.error({ dropped }, 'webhooks dropped: receivers are away for so long that the disk space for them is full');
  };
  const timers = [setInterval(forget, FORGET_PERIOD_MS), setInterval(tellCrowdedOut, TELL_PERIOD_MS)];
  return {
    send(event) {
      const body = Buffer.from(JSON.stringify(event));
      const parsed = parseWebhookEvent(body);
      if (parsed !== null) accept(parsed, body, signWebhook(body, { ...signing, nowMs: nowMs() }));
    },
    isSigned: (authorization) => signedBodyHash(authorization, { keys: config.keys, nowMs: nowMs() }) !== null,
    receive(body, authorization) {
      if (!isWebhookTokenValid(authorization, body, { keys: config.keys, nowMs: nowMs() })) return 401;
      const event = parseWebhookEvent(body);
      if (event === null) return 400;
      accept(event, body, authorization);
      return 200;
    },
    redirect,
    waiting: () => store.count(),
    hold: () => dispatcher.hold(),
    resume: () => dispatcher.resume(),
    async dropEnds(isUntrue) {
      // Some may come meanwhile.
      for (let afterId = 0; ;) {
        const found = store.mentioning(ROOM_FINISHED, afterId);
        if (found === null) return;
        afterId = found.id;
        const event = parseWebhookEvent(found.body);
        if (event?.event !== ROOM_FINISHED || !(await isUntrue(event))) continue;
        store.drop(found.id, event.id);
        log.warn({ eventId: event.id, room: event.room?.name }, 'webhook dropped: the room goes on on another node');
      }
    },
    async stop() {
      for (const timer of timers) clearInterval(timer);
      await dispatcher.stop();
      tellCrowdedOut();
      store.close();
    },
  };
}
