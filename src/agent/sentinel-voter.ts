import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import type { SentinelControl } from '../clients/sentinel-control.ts';
import { NODES_KEY, hostOf, parseNodeRecords } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { WITNESS_KEY, paceOf, voteOf } from '../contract/vote.ts';
import { SETTLE_MS } from './fleet-memory.ts';
import type { FleetMemory } from './fleet-memory.ts';
import { createSteady } from './steady.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 2_000;
/** Sentinels speak every 2 s: who missed three turns has ended, or watches no more. */
const SILENT_MS = 7_000;
/** Redis string: the machine whose Sentinel forgets and finds the others at present. */
const TURN_KEY = 'fleet:sentinel-turn';
/** To find the others again takes seconds; afterwards it is another machine's turn, whatever became of this one. */
const TURN_MS = 30_000;

export interface SentinelVoterOptions {
  readonly machine: string;
  readonly redis: Redis;
  /** So that this machine's commands know whom to ask while it is stopped; null where somebody else keeps it. */
  readonly memory: Pick<FleetMemory, 'save'> | null;
  /** This machine's. */
  readonly sentinel: SentinelControl;
  readonly log: Logger;
  readonly monotonicMs: () => number;
}

/**
 * Keeps a media machine's Sentinel in step with the registry: its quorum, and whom it counts. A machine that left the registry, or a
 * witness that is no longer needed, would be counted for ever; so the Sentinel is reset, one of the fleet at a time, while all
 * that should vote are heard and nothing is being replaced. Gives a function that ends it.
 */
export function startSentinelVoter(options: SentinelVoterOptions): () => Promise<void> {
  const { machine, redis, sentinel, log } = options;
  const isSteady = createSteady(SETTLE_MS, options.monotonicMs);

  const tick = async (): Promise<void> => {
    const records = redis.status === 'ready' ? await registered() : [];
    const hosts = records.map((one) => hostOf(one.signalling));
    const witness = hosts.length > 0 ? await redis.get(WITNESS_KEY) : null;
    // Each time, and at once: one that was started anew has its own again, and would miss a lost primary half a second later.
    if (hosts.length > 0) await sentinel.setPace(paceOf(hosts.length));
    // An empty registry is one that has lost its data, or does not know this machine yet.
    if (!isSteady(JSON.stringify([hosts, witness])) || hosts.length === 0) return;
    await options.memory?.save(records);
    const view = await sentinel.view();
    if (view === null) return log.warn('Sentinel watches nothing');
    const { quorum, hasWitness } = voteOf(hosts.length);
    if (view.quorum !== quorum) {
      await sentinel.setQuorum(quorum);
      log.info({ quorum, machines: hosts.length }, 'quorum set');
    }
    if (!view.isCalm) return;
    const others = await sentinel.others();
    const voters = hasWitness && witness !== null ? [...hosts, hostOf(witness)] : hosts;
    const ended = others.filter((one) => !voters.includes(one.host) && one.silentForMs > SILENT_MS);
    const heard = others.filter((one) => hosts.includes(one.host) && one.silentForMs <= SILENT_MS);
    const isWhole = heard.length === hosts.length - 1 && view.replicas >= hosts.length - 1;
    if (ended.length === 0 && isWhole) await endTurn();
    if (ended.length === 0 || !isWhole || !(await takeTurn())) return;
    await sentinel.reset();
    log.info({ forgotten: ended.map((one) => one.host) }, 'Sentinel reset');
  };
  /** None where this machine is not among them. */
  const registered = async (): Promise<NodeRecord[]> => {
    const records = parseNodeRecords(await redis.hgetall(NODES_KEY));
    return records.some((one) => one.machine === machine) ? records : [];
  };
  const hasTurn = async (): Promise<boolean> => (await redis.get(TURN_KEY)) === machine;
  // Who has it may use it again: somebody may have fallen silent, or have been heard once more, since.
  const takeTurn = async (): Promise<boolean> => (await redis.set(TURN_KEY, machine, 'PX', TURN_MS, 'NX')) === 'OK' || (await hasTurn());
  const endTurn = async (): Promise<void> => {
    if (await hasTurn()) await redis.del(TURN_KEY);
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'Sentinel not in step'));
  return async () => {
    await ticker.stop();
    sentinel.close();
    // Otherwise those who stay would wait for it, and count a machine that left as long.
    if (redis.status === 'ready') await endTurn().catch((error: unknown) => log.warn({ err: error }, 'turn not given back'));
  };
}
