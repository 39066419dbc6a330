import { isDeepStrictEqual } from 'node:util';
import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { CHANGED_CHANNEL } from '../contract/node-record.ts';
import { ANNOUNCER_KEY, WEBHOOKS_KEY, parseWebhookTargets } from '../contract/webhook-targets.ts';
import type { WebhookTargets } from '../contract/webhook-targets.ts';
import type { AnnouncedWebhooks } from './config.ts';
import { readIfThere } from './state-file.ts';
import { startTicker } from './ticker.ts';

/** Nobody waits for this but a fleet whose Redis has lost its data, or whose Caddy has just made its authority. */
const PERIOD_MS = 2_000;
/** Of two gateways with different settings one is heard: the other one waits until the first has been silent so long. */
const TERM_MS = 20_000;

/**
 * Keeps what Redis says of the webhooks' receivers equal to this gateway's configuration, and announces each change, while no
 * other gateway does. Gives a function that ends it.
 */
export function startWebhookAnnouncer(options: { machine: string; redis: Redis; webhooks: AnnouncedWebhooks; log: Logger }): () => Promise<void> {
  const { machine, redis, webhooks, log } = options;
  let rival: string | null = null;
  const isOurs = async (): Promise<boolean> => {
    const holder = (await redis.set(ANNOUNCER_KEY, machine, 'PX', TERM_MS, 'NX')) === 'OK' ? machine : await redis.get(ANNOUNCER_KEY);
    if (holder === machine) await redis.pexpire(ANNOUNCER_KEY, TERM_MS);
    const other = holder === machine ? null : holder;
    if (other !== null && other !== rival) log.warn({ gateway: other }, 'another gateway names the webhook receivers; this one’s are not used');
    rival = other;
    return other === null;
  };
  const tick = async (): Promise<void> => {
    if (redis.status !== 'ready' || !(await isOurs())) return;
    const caPem = webhooks.caFile === null ? null : await readIfThere(webhooks.caFile);
    const { urls, domain } = webhooks;
    const wanted: WebhookTargets = { urls: [...urls], domain, gatewayAddress: await ownAddress(redis), caPem };
    if (isDeepStrictEqual(parseWebhookTargets((await redis.get(WEBHOOKS_KEY)) ?? ''), wanted)) return;
    await redis.set(WEBHOOKS_KEY, JSON.stringify(wanted));
    await redis.publish(CHANGED_CHANNEL, 'webhooks');
    log.info({ receivers: urls.length, gatewayAddress: wanted.gatewayAddress, hasCa: caPem !== null }, 'webhook receivers announced');
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'webhook receivers not announced'));
  redis.on('ready', () => ticker.poke());
  return async () => {
    await ticker.stop();
    if (redis.status === 'ready' && rival === null) await redis.del(ANNOUNCER_KEY).catch(() => undefined);
  };
}

/** This machine's address as Redis sees it (`addr` of CLIENT INFO); null where Redis is on this machine. */
async function ownAddress(redis: Redis): Promise<string | null> {
  const info = await redis.client('INFO');
  const address = /(?:^| )addr=\[?([0-9a-f.:]+?)\]?:\d+ /i.exec(String(info))?.[1] ?? null;
  return address === null || address === '::1' || address.startsWith('127.') ? null : address;
}
