import type { Logger } from 'pino';
import type { WebhookConfig } from '../config.ts';
import { startDispatcher } from './dispatcher.ts';
import type { Dispatcher } from './dispatcher.ts';
import type { WebhookStore } from './store.ts';
import { parseWebhookEvent } from '../../contract/webhook-event.ts';
import { isWebhookTokenValid, signedBodyHash } from '../../clients/livekit-token.ts';

/** Longer than LiveKit retries (26 s) and than a delivery is tried (24 h). */
const REMEMBER_IDS_MS = 48 * 3600 * 1000;
const FORGET_PERIOD_MS = 3600 * 1000;

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
  stop(): Promise<void>;
}

/** Starts passing on what the store holds. Takes over the store and closes it at the end. */
export function startWebhookRelay(options: RelayOptions): WebhookRelay {
  const { config, store, log, nowMs } = options;
  const dropped = store.dropOtherUrls(config.urls);
  if (dropped > 0) log.warn({ dropped }, 'webhooks dropped: their URL is no longer configured');
  const signing = { apiKey: config.signingKey, secret: config.keys[config.signingKey] ?? '' };
  const dispatcher: Dispatcher = startDispatcher({ ...options, urls: config.urls, signing });
  const forget = (): void => store.forgetSeen(nowMs() - REMEMBER_IDS_MS);
  forget();
  const timer = setInterval(forget, FORGET_PERIOD_MS);
  return {
    isSigned: (authorization) => signedBodyHash(authorization, { keys: config.keys, nowMs: nowMs() }) !== null,
    receive(body, authorization) {
      if (!isWebhookTokenValid(authorization, body, { keys: config.keys, nowMs: nowMs() })) return 401;
      const event = parseWebhookEvent(body);
      if (event === null) return 400;
      const room = event.room?.name ?? event.egressInfo?.roomName ?? event.ingressInfo?.roomName ?? '';
      const isNew = store.accept({ eventId: event.id, room, body, authorization, receivedAtMs: nowMs() }, config.urls);
      if (isNew) dispatcher.wake(config.urls.map((url) => ({ url, room })));
      return 200;
    },
    async stop() {
      clearInterval(timer);
      await dispatcher.stop();
      store.close();
    },
  };
}
