import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { redisTimeMs } from '../clients/redis-time.ts';
import { DRAINING_KEY } from '../contract/node-record.ts';
import { FAULT_DELAY_MS, ORDERS_KEY, REPORTS_KEY, parseOrder, parseReport } from '../contract/orders.ts';
import type { FaultOrder, Order, OrderReport, RestartOrder, UpgradeOrder } from '../contract/orders.ts';
import { isEnding } from './livekit-nodes.ts';
import type { LivekitProcess } from './livekit-process.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 1_000;
const POLL_MS = 250;
/** The supervisor starts it again within a second; a busy machine may need some more. */
const START_MS = 20_000;

export interface OrderTakerOptions {
  readonly machine: string;
  readonly redis: Redis;
  readonly livekit: LivekitProcess;
  /** LiveKit's node id, and the number of its participants; null where it does not answer. */
  readonly look: () => Promise<{ nodeId: string; participants: number } | null>;
  /** Gives what holds a drill's fault on this machine; rejects where that cannot be done. */
  readonly makeReady: (fault: FaultOrder['fault']) => Promise<() => Promise<void>>;
  /** Has an upgrade carried out; null where nobody here does that. */
  readonly runUpgrade:
    | ((order: UpgradeOrder, run: { signal: AbortSignal; onProgress: (detail: string) => Promise<unknown> }) => Promise<{ code: number; detail: string }>)
    | null;
  readonly log: Logger;
  readonly monotonicMs: () => number;
}

function pause(): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, POLL_MS));
}

/**
 * Carries out what an operator has ordered, here or on another machine. A drill's fault is held at once, an upgrade is the upgrades part's. LiveKit is restarted with
 * care: it takes no new rooms, its participants get their time, those who stayed come back on another node by themselves. Its
 * supervisor starts it again. Gives a function that ends it.
 */
export function startOrderTaker(options: OrderTakerOptions): () => Promise<void> {
  const { machine, redis, livekit, look, makeReady, runUpgrade, log, monotonicMs } = options;
  const stop = new AbortController();
  const write = (order: Order, state: OrderReport['state'], more: Partial<OrderReport> = {}): Promise<unknown> =>
    redis.hset(REPORTS_KEY, machine, JSON.stringify({ id: order.id, state, participants: 0, secondsLeft: 0, detail: '', ...more } satisfies OrderReport));
  const report = (order: Order, state: OrderReport['state'], more: Partial<OrderReport> = {}): Promise<unknown> =>
    write(order, state, more).catch((error: unknown) => {
      // Redis may be away for a moment; the work goes on.
      log.warn({ err: error }, 'order not reported');
    });
  const end = async (order: RestartOrder, pid: number, before: OrderReport | null): Promise<void> => {
    const isKnown = before?.id === order.id && before.state === 'draining';
    const timeMs = isKnown ? before.secondsLeft * 1000 : order.deadlineMs;
    // A second signal would throw everybody out: somebody else may have sent the first, or this agent, which was killed before it said so.
    if (!isKnown && !(await isEnding(redis, order.nodeId))) livekit.signal(pid, 'SIGTERM');
    for (const deadline = monotonicMs() + timeMs; !stop.signal.aborted && (await livekit.pid()) === pid; await pause()) {
      const left = deadline - monotonicMs();
      // Killed, since clients of one that ends in order do not come back by themselves.
      if (left <= 0) livekit.signal(pid, 'SIGKILL');
      else await report(order, 'draining', { participants: (await look())?.participants ?? 0, secondsLeft: Math.ceil(left / 1000) });
    }
  };
  const awaitStart = async (order: RestartOrder): Promise<boolean> => {
    await report(order, 'starting');
    for (const deadline = monotonicMs() + START_MS; !stop.signal.aborted && monotonicMs() < deadline; await pause()) {
      const now = await look();
      if (now !== null && now.nodeId !== order.nodeId) return true;
    }
    return false;
  };
  const hold = async (order: FaultOrder): Promise<void> => {
    if ((await redisTimeMs(redis)) > order.untilMs) return;
    const strike = await makeReady(order.fault).catch((error: unknown) => {
      log.warn({ err: error, fault: order.fault }, 'a drill: the fault cannot be held');
      return null;
    });
    // Not by the tolerant `report`: it is neither held twice, nor by an agent that nobody hears.
    await write(order, strike === null ? 'failed' : 'done');
    if (strike === null) return;
    log.warn({ order: order.id, fault: order.fault }, 'a drill: this fault is held on purpose');
    await new Promise((resolve) => setTimeout(resolve, FAULT_DELAY_MS));
    await strike();
  };
  const change = async (order: UpgradeOrder, before: OrderReport | null): Promise<void> => {
    // This agent may be one that the upgrade has started anew.
    if (before?.id !== order.id && (await redisTimeMs(redis)) > order.untilMs) return;
    if (runUpgrade === null) return void (await report(order, 'failed', { detail: 'no upgrades part here' }));
    log.info({ order: order.id, upgrade: order.upgrade }, 'LiveKit is to be upgraded');
    const { signal } = stop;
    try {
      const { code, detail } = await runUpgrade(order, { signal, onProgress: (last) => report(order, 'working', { detail: last }) });
      log.info({ order: order.id, code }, 'upgrade ended');
      await report(order, code === 0 ? 'done' : 'failed', { detail });
    } catch (error) {
      if (signal.aborted) return;
      log.error({ err: error, order: order.id }, 'upgrade not carried out: the upgrades part does not listen');
      await report(order, 'failed', { detail: 'the upgrades part does not listen' });
    }
  };
  const tick = async (): Promise<void> => {
    if (redis.status !== 'ready') return;
    const order = parseOrder((await redis.hget(ORDERS_KEY, machine)) ?? '');
    if (order === null) return;
    const before = parseReport((await redis.hget(REPORTS_KEY, machine)) ?? '');
    if (before?.id === order.id && (before.state === 'done' || before.state === 'failed')) return;
    if ('fault' in order) return hold(order);
    if ('upgrade' in order) return change(order, before);
    log.info({ order: order.id, deadlineMs: order.deadlineMs }, 'LiveKit is to be restarted');
    await redis.sadd(DRAINING_KEY, order.nodeId);
    const [now, pid] = [await look(), await livekit.pid()];
    if (pid !== null && (now === null || now.nodeId === order.nodeId)) await end(order, pid, before);
    const isWell = await awaitStart(order);
    log.info({ order: order.id, isWell }, 'LiveKit restarted');
    if (!stop.signal.aborted) await report(order, isWell ? 'done' : 'failed');
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'order not carried out'));
  return async () => {
    stop.abort();
    await ticker.stop();
  };
}
