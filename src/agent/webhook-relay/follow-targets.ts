import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { WEBHOOKS_KEY, parseWebhookTargets } from '../../contract/webhook-targets.ts';
import type { WebhookTargets } from '../../contract/webhook-targets.ts';
import { listenForChanges } from '../announcements.ts';
import { readIfThere, writeAtomically } from '../state-file.ts';
import { startTicker } from '../ticker.ts';
import type { WebhookRelay } from './relay.ts';

/** Changes are announced; this is for an announcement that got lost. */
const PERIOD_MS = 5_000;

export interface FollowTargetsOptions {
  readonly redis: Redis;
  /** A second connection, for listening. */
  readonly subscriber: Redis;
  readonly relay: WebhookRelay;
  /** URLs of this machine's own configuration, which beat the gateway's; none: the gateway's. */
  readonly ownUrls: readonly string[];
  /** Where the gateway's word is remembered, so that events find their way while Redis or the gateway is away. */
  readonly path: string;
  readonly log: Logger;
}

/** Points the relay where the gateway machine says. Gives a function that ends it. */
export function followTargets(options: FollowTargetsOptions): () => Promise<void> {
  const { redis, relay, ownUrls, path, log } = options;
  let known: WebhookTargets | null = null;
  let isLoaded = false;

  const follow = (targets: WebhookTargets): void => {
    known = targets;
    relay.redirect({ urls: ownUrls.length > 0 ? ownUrls : targets.urls, gateway: targets });
  };
  const tick = async (): Promise<void> => {
    if (!isLoaded) {
      const remembered = parseWebhookTargets((await readIfThere(path)) ?? '');
      if (remembered !== null) follow(remembered);
      isLoaded = true;
    }
    if (redis.status !== 'ready') return;
    const read = parseWebhookTargets((await redis.get(WEBHOOKS_KEY)) ?? '');
    // A Redis that lost its data says nothing about the receivers.
    if (read === null || isDeepStrictEqual(read, known)) return;
    await writeAtomically(path, `${JSON.stringify(read, null, 1)}\n`);
    follow(read);
    log.info({ receivers: read.urls.length, gatewayAddress: read.gatewayAddress }, 'webhook receivers changed');
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'webhook receivers not read'));
  redis.on('ready', () => ticker.poke());
  listenForChanges(options.subscriber, () => ticker.poke(), log);
  return () => ticker.stop();
}
