import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { primaryOf } from '../clients/redis.ts';
import type { SentinelControl } from '../clients/sentinel-control.ts';
import { CHANGED_CHANNEL, NODES_KEY, parseNodeRecords } from '../contract/node-record.ts';
import { WITNESS_KEY, paceOf, voteOf } from '../contract/vote.ts';
import { SETTLE_MS } from './fleet-memory.ts';
import { createSteady } from './steady.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 2_000;

export interface WitnessOptions {
  readonly redis: Redis;
  /** This machine's. */
  readonly sentinel: SentinelControl;
  /** `host:port` at which the media machines' Sentinels reach it. */
  readonly address: string;
  readonly log: Logger;
  readonly monotonicMs: () => number;
}

/**
 * Lets the gateway machine's Sentinel vote while the registry holds an even number of media machines, and watch nothing otherwise.
 * What it watches it remembers itself, so it votes at once when the machine starts, whoever is away. Gives a function that ends it.
 */
export function startWitness(options: WitnessOptions): () => Promise<void> {
  const { redis, sentinel, address, log } = options;
  const isSteady = createSteady(SETTLE_MS, options.monotonicMs);

  const tick = async (): Promise<void> => {
    const machines = redis.status === 'ready' ? parseNodeRecords(await redis.hgetall(NODES_KEY)).length : 0;
    const primary = primaryOf(redis);
    const view = await sentinel.view();
    const isElsewhere = view !== null && primary !== null && (view.primary.host !== primary.host || view.primary.port !== primary.port);
    // While a primary is being replaced, one knows earlier than the other.
    if (!isSteady(JSON.stringify([machines, isElsewhere, primary])) || machines === 0 || primary === null) return;
    const { quorum, hasWitness } = voteOf(machines);
    if (view !== null && (!hasWitness || isElsewhere)) {
      await sentinel.unwatch();
      log.info({ machines, isElsewhere }, 'witness votes no more');
    }
    if (hasWitness && (view === null || isElsewhere)) {
      await sentinel.watch(primary, quorum);
      log.info({ machines, quorum }, 'witness votes');
    } else if (hasWitness && view?.quorum !== quorum) await sentinel.setQuorum(quorum);
    if (hasWitness) await sentinel.setPace(paceOf(machines));
    await announce(hasWitness);
  };
  const announce = async (isVoting: boolean): Promise<void> => {
    if ((await redis.get(WITNESS_KEY)) === (isVoting ? address : null)) return;
    await (isVoting ? redis.set(WITNESS_KEY, address) : redis.del(WITNESS_KEY));
    await redis.publish(CHANGED_CHANNEL, 'witness');
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'witness not in step'));
  return async () => {
    await ticker.stop();
    sentinel.close();
  };
}
