import type { Logger } from 'pino';
import type { Redis } from 'ioredis';
import { redisTimeMs } from '../clients/redis-time.ts';
import type { MediaConfig } from './config.ts';
import type { LivekitAnswer, LivekitProbe } from './livekit-probe.ts';
import { forgetNode, hasNode, readStamp } from './livekit-nodes.ts';
import { CHANGED_CHANNEL, DRAINING_KEY, NODES_KEY, parseNodeRecord } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { fencedKey } from '../contract/sight.ts';
import { createStandstill } from './standstill.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 1_000;
/** LiveKit answers 406 while Redis is away and for some seconds after: to take it out for that would empty the whole fleet. */
const UNREADY_TOLERANCE_MS = 10_000;
/** Asked this often for so long after the agent's start, and after LiveKit closed its connections or answers otherwise: it is soon back. */
const MOVING_PERIOD_MS = 50;
const MOVING_MS = 5_000;
/** The id changes only when LiveKit starts, which the watch notices; asked again this often in case it did not. */
const NODE_ID_PERIOD_MS = 5_000;
/** What an ended process has sent may come for as long as the network was cut: TCP sends it again ever more rarely. */
const LAST_WORDS_MS = 120_000;
/**
 * LiveKit writes its entry every two seconds; the others give its rooms away when it has not for ten. One that writes nothing, though this
 * agent can all the while, hangs.
 */
const HUNG_MS = 9_000;
/** An agent that has written nothing for so long was stopped itself, as LiveKit may have been, or Redis takes nothing from either. */
const BREAK_MS = 5_000;

export interface MediaRegistryOptions {
  readonly machine: string;
  readonly media: MediaConfig;
  readonly redis: Redis;
  readonly probe: LivekitProbe;
  /** Ends LiveKit at once; its supervisor starts it again. */
  readonly kill: () => Promise<void>;
  /** True once other machines reach this one; it does not serve before, unless it has already. */
  readonly isOpen: () => Promise<boolean>;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds. */
  readonly monotonicMs: () => number;
}

/** The machine's own entry in the fleet's registry. */
export interface MediaRegistry {
  /** True while LiveKit serves and the fleet knows. */
  isServing(): boolean;
  /** Of the LiveKit that runs; null where none does. */
  nodeId(): string | null;
  /** Ends LiveKit at once, where others take its rooms over; its supervisor starts it again. */
  end(): Promise<void>;
  /**
   * Marks the record `stopped`, waiting one second for Redis at most, and ends. Where LiveKit goes on (a machine
   * that is shut down ends it first, see Part) the record stays: the next agent is
   * there within seconds, and until then all is as if this one only said nothing.
   */
  stop(): Promise<void>;
}

/** Writes the machine's record into Redis every second, and at once when LiveKit ends. */
export function startMediaRegistry(options: MediaRegistryOptions): MediaRegistry {
  const { redis, log, monotonicMs } = options;
  const judge = createServingJudge(monotonicMs);
  let isServing = false;
  let isOpened = false;
  let nodeId: string | null = null;
  /** What the record names: the same, or a former node that is not yet proved to have ended. */
  let named: string | null = null;
  let nodeIdAtMs = 0;
  let movedAtMs = monotonicMs();
  let lastAnswer: LivekitAnswer | null = null;
  let endWatch: (() => void) | null = null;
  /** Nodes whose rooms others have taken over → when they were ended. */
  const endedNodes = new Map<string, number>();
  const stamps = createStandstill(monotonicMs);
  let writtenAtMs = Number.NEGATIVE_INFINITY;
  let announced = '';
  let announcedState: NodeRecord['state'] | null = null;

  const observe = async (): Promise<LivekitAnswer> => {
    const answer = await options.probe.check();
    const isUp = judge(answer);
    if (answer === 'refused') nodeId = null;
    else if (nodeId === null || monotonicMs() - nodeIdAtMs >= NODE_ID_PERIOD_MS) {
      nodeId = (await options.probe.readNodeId()) ?? nodeId;
      nodeIdAtMs = monotonicMs();
    }
    isOpened ||= (await hasServed()) || (await options.isOpen());
    isServing = isUp && isOpened;
    if (answer !== lastAnswer) movedAtMs = monotonicMs();
    lastAnswer = answer;
    if (answer === 'ok') endWatch ??= options.probe.watch(onLivekitEnd);
    return answer;
  };
  const readOwn = async (): Promise<NodeRecord | null> => parseNodeRecord((await redis.hget(NODES_KEY, options.machine)) ?? '');
  /** An agent before has led clients to this very LiveKit. */
  const hasServed = async (): Promise<boolean> => {
    const before = redis.status === 'ready' && nodeId !== null ? await readOwn() : null;
    return before?.nodeId === nodeId && before?.signalling === options.media.advertiseAddress && (before.state === 'serving' || before.state === 'draining');
  };
  /** The node that this machine's record still names has ended where another one runs now, or none listens. Gives the node to name. */
  const forgetFormer = async (answer: LivekitAnswer): Promise<string | null> => {
    const former = (await readOwn())?.nodeId ?? null;
    if (former === null || former === nodeId) return nodeId;
    if (nodeId === null && answer !== 'refused') return former;
    log.info({ nodeId: former, rooms: await forgetNode(redis, former) }, 'ended node removed');
    return nodeId;
  };
  /** Cut off from all the others, which have taken its rooms over: two LiveKits with the same room would each go on alone. */
  const fence = async (): Promise<void> => {
    if (nodeId === null || (await redis.exists(fencedKey(nodeId))) === 0) return;
    log.warn({ nodeId }, 'the others took this node for gone: LiveKit is started anew');
    await endNode(nodeId);
  };
  /** It is there, and does nothing: neither do its clients hear from it, nor can anybody come into its rooms. */
  const endHung = async (): Promise<void> => {
    const running = nodeId;
    const stamp = running === null ? null : await readStamp(redis, running);
    // Not before: the machine may have stood still while Redis was asked.
    const isBroken = monotonicMs() - writtenAtMs > BREAK_MS;
    stamps.keep(isBroken || running === null ? [] : [running]);
    if (running === null || running !== nodeId || stamp === null || stamps.note(running, stamp) < HUNG_MS) return;
    log.error({ nodeId }, 'LiveKit hangs: it is started anew');
    await endNode(running);
  };
  /** Its supervisor starts another one; its rooms go on elsewhere. */
  const endNode = async (former: string): Promise<void> => {
    await end();
    await forgetNode(redis, former);
  };
  const end = async (): Promise<void> => {
    if (nodeId !== null) endedNodes.set(nodeId, monotonicMs());
    nodeId = null;
    isServing = false;
    await options.kill();
  };
  /** Its last word about itself may come after its end. */
  const forgetLastWords = async (): Promise<void> => {
    for (const [id, atMs] of endedNodes) {
      if (await hasNode(redis, id)) await forgetNode(redis, id);
      if (monotonicMs() - atMs >= LAST_WORDS_MS) endedNodes.delete(id);
    }
  };
  const onLivekitEnd = (): void => {
    endWatch = null;
    nodeId = null;
    movedAtMs = monotonicMs();
    ticker.poke();
  };
  const write = async (state: NodeRecord['state']): Promise<void> => {
    const { machine, media } = options;
    const fixed = { machine, signalling: media.advertiseAddress, nodeId: named, version: media.version, state, keyFingerprint: media.keyFingerprint };
    const record: NodeRecord = { ...fixed, updatedAtMs: await redisTimeMs(redis) };
    await redis.hset(NODES_KEY, machine, JSON.stringify(record));
    announcedState = state;
    writtenAtMs = monotonicMs();
    const news = JSON.stringify(fixed);
    if (news === announced) return;
    await redis.publish(CHANGED_CHANNEL, machine);
    announced = news;
    log.info({ state, nodeId: named }, 'record changed');
  };
  const tick = async (): Promise<void> => {
    const answer = await observe();
    if (answer !== 'ok' && monotonicMs() - movedAtMs < MOVING_MS) setTimeout(() => ticker.poke(), MOVING_PERIOD_MS);
    if (redis.status !== 'ready') return;
    await fence();
    await endHung();
    await forgetLastWords();
    // Before the record says `serving`: rooms would be given to the dead node for five seconds more.
    named = await forgetFormer(answer);
    const isDraining = isServing && nodeId !== null && (await redis.sismember(DRAINING_KEY, nodeId)) === 1;
    await write(isDraining ? 'draining' : isServing ? 'serving' : 'down');
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.warn({ err: error }, 'record not written'));
  redis.on('ready', () => ticker.poke());

  return {
    isServing: () => isServing && (announcedState === 'serving' || announcedState === 'draining'),
    nodeId: () => nodeId,
    end,
    async stop() {
      endWatch?.();
      await ticker.stop();
      if (redis.status !== 'ready') return;
      const goesOn = isServing && (await options.probe.check()) === 'ok';
      if (!goesOn) await write('stopped').catch((error: unknown) => log.warn({ err: error }, 'record not marked stopped'));
    },
  };
}

/** Judges answers in their order: up with the first `ok`, down at once when nothing listens, and only after the tolerance when unready. */
export function createServingJudge(monotonicMs: () => number): (answer: LivekitAnswer) => boolean {
  let lastOkMs: number | null = null;
  return (answer) => {
    if (answer === 'ok') lastOkMs = monotonicMs();
    if (answer === 'refused') lastOkMs = null;
    return lastOkMs !== null && monotonicMs() - lastOkMs < UNREADY_TOLERANCE_MS;
  };
}
