import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { primaryOf } from '../clients/redis.ts';
import { CHANGED_CHANNEL, NODES_KEY, hostOf, parseNodeRecord, parseNodeRecords } from '../contract/node-record.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { FENCED_SECONDS, SIGHTS_KEY, areMostHeard, fencedKey, doorsOf, findQuiet, findSilent, findVanished, parseSights } from '../contract/sight.ts';
import { avoidNode, forgetNode, keepNodes, readStamp } from './livekit-nodes.ts';
import { createReachJudge, isThere } from './reachability.ts';
import { createStandstill } from './standstill.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 500;
/** While somebody is missed. */
const ALERT_PERIOD_MS = 200;
/** Longer than the last word of a machine that lost its power counts. */
const CUT_OFF_MS = 3_000;
/**
 * A node that has not written its entry for so long, nor its agent a word, has lost its way to Redis. LiveKit gives its rooms away after
 * ten seconds (see keepAhead), whether it has ended or not: they are taken over in order before.
 */
const STRANDED_MS = 4_300;
/** A machine writes its record every second: that of one that has missed this moment is looked at more closely. */
const SUSPECT_MS = 1_200;
/**
 * LiveKit writes its entry every two seconds. By its own clock, which may be behind, a node that lives may seem silent; one that is seen to
 * write nothing for so long is.
 */
const STILL_MS = 2_800;
/** Who has not heard Redis for so long without a break cannot tell whose silence it was. */
const HEARING_MS = 3_000;
/** What Redis said longer ago says nothing about who speaks now. */
const HEARD_MS = 2_000;
/** Redis string: who removes the entries of a machine at present. */
const TURN_KEY = 'fleet:vanished-turn';
/** To remove them takes milliseconds; afterwards it is another one's turn, whatever became of the first. Where both do it nothing is done twice. */
const TURN_MS = 500;

/** Says a word and hears all of it at once, by Redis's own clock. */
const TELL = `
local t = redis.call('TIME')
local now = string.format('%.0f', t[1] * 1000 + math.floor(t[2] / 1000))
redis.call('HSET', KEYS[1], ARGV[1], now .. ' ' .. ARGV[2])
return {now, redis.call('HGETALL', KEYS[1]), redis.call('HGETALL', KEYS[2])}`;

/** Replaces a field unless somebody else has meanwhile. */
const REPLACE = `
if redis.call('HGET', KEYS[1], ARGV[1]) ~= ARGV[2] then return 0 end
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return 1`;

export interface VanishedNodesOptions {
  readonly machine: string;
  readonly sentinelPort: number;
  readonly redis: Redis;
  /** False while this machine's LiveKit cannot have found the primary that its agent is connected to. */
  readonly maySpeak?: () => boolean;
  /** Hears of each change in whom this machine can reach, in who speaks, and in what the records say besides their time. */
  readonly onChange?: () => void;
  readonly log: Logger;
  /** A clock that never jumps, in milliseconds. */
  readonly monotonicMs: () => number;
}

/** A machine's view of the others. */
export interface VanishedNodes {
  /** True while this machine gets no answer from it. */
  isOutOfReach(machine: string): boolean;
  /** True where it speaks, and only this machine's own way to it is cut. */
  isCutOff(machine: string): boolean;
  /** True while it says nothing, though its record says that it serves. */
  isQuiet(machine: string): boolean;
  /** True while this machine knows others with LiveKit, and gets no answer from any. */
  isAlone(): boolean;
  /** True while more than half of the fleet's machines have been heard on the same Redis, without a break that would tell of a new one. */
  isWithMost(): boolean;
  /** Since this machine's last word was taken, in milliseconds. */
  speechlessMs(): number;
  /** For how long the machine at this address has been out of reach, in milliseconds; 0 where it is not. */
  missedMs(host: string): number;
  stop(): Promise<void>;
}

/** Watches the media machines from this one, and removes what LiveKit's registry says of one that has vanished; see findVanished. */
export function startVanishedNodes(options: VanishedNodesOptions): VanishedNodes {
  const { machine, sentinelPort, redis, log, monotonicMs } = options;
  /** Machine → since when. */
  const outOfReach = new Map<string, number>();
  const watches = new Map<string, { address: string; stop: () => Promise<void> }>();
  let records: NodeRecord[] = [];
  let told = '';
  /** The primary that was last spoken to, as text. */
  let spokenTo: string | null = null;
  let quiet: NodeRecord[] = [];
  let heardAtMs = Number.NEGATIVE_INFINITY;
  /** Since when every word was taken, by the same primary. */
  let hearingSinceMs = Number.POSITIVE_INFINITY;
  const stamps = createStandstill(monotonicMs);
  let withMostSinceMs = Number.POSITIVE_INFINITY;

  const watch = (record: NodeRecord): (() => Promise<void>) => {
    const judge = createReachJudge(monotonicMs);
    const doors = doorsOf(record, sentinelPort);
    const look = async (): Promise<void> => {
      const isOut = judge(await isThere(doors));
      if (isOut === outOfReach.has(record.machine)) return;
      if (isOut) outOfReach.set(record.machine, monotonicMs());
      else outOfReach.delete(record.machine);
      log.info({ machine: record.machine, isOut }, 'reach changed');
      ticker.poke();
      options.onChange?.();
    };
    const looking = startTicker(PERIOD_MS, look, (error) => log.error({ err: error }, 'machine not looked at'));
    return () => looking.stop();
  };
  const follow = (): void => {
    const wanted = new Map(records.filter((one) => one.machine !== machine && one.state !== 'stopped').map((one) => [one.machine, one]));
    for (const [name, { address, stop }] of watches) {
      if (wanted.get(name)?.signalling === address) continue;
      watches.delete(name);
      outOfReach.delete(name);
      void stop();
    }
    for (const [name, record] of wanted) if (!watches.has(name)) watches.set(name, { address: record.signalling, stop: watch(record) });
  };
  const remove = async (judged: NodeRecord): Promise<void> => {
    const gone = judged.machine;
    // Whose turn it is may have lost its connection meanwhile: they often move twice when a primary is replaced.
    const holder = await redis.set(`${TURN_KEY}:${gone}`, machine, 'PX', TURN_MS, 'NX', 'GET');
    if (holder !== null && holder !== machine) return;
    const text = (await redis.hget(NODES_KEY, gone)) ?? '';
    const record = parseNodeRecord(text);
    // It may have spoken since.
    if (record === null || record.nodeId === null || record.nodeId !== judged.nodeId || record.updatedAtMs !== judged.updatedAtMs) return;
    for (const other of quiet) if (other.machine !== gone && other.nodeId !== null) await avoidNode(redis, other.nodeId);
    await redis.set(fencedKey(record.nodeId), machine, 'EX', FENCED_SECONDS);
    const rooms = await forgetNode(redis, record.nodeId);
    // Only now: that the record names no node is what the gateway waits for before it sends clients elsewhere.
    const down: NodeRecord = { ...record, nodeId: null, state: 'down' };
    const isWritten = (await redis.eval(REPLACE, 1, NODES_KEY, gone, text, JSON.stringify(down))) === 1;
    if (isWritten) await redis.publish(CHANGED_CHANNEL, gone);
    options.onChange?.();
    log.warn({ machine: gone, nodeId: record.nodeId, rooms, isWritten }, 'vanished machine removed');
  };
  /** A new primary stands: the time that passed without one is nobody's silence. */
  const keepOnce = async (nowMs: number): Promise<void> => {
    const primary = JSON.stringify(primaryOf(redis));
    if (spokenTo !== null && spokenTo !== primary) {
      const nodes = records.flatMap(({ machine: name, nodeId, state }) => (nodeId === null || state === 'down' || outOfReach.has(name) ? [] : [nodeId]));
      await keepNodes(redis, nodes, nowMs);
      log.info({ primary, nodes }, 'nodes kept');
    }
    if (spokenTo !== primary || monotonicMs() - heardAtMs >= HEARD_MS) {
      hearingSinceMs = monotonicMs();
      withMostSinceMs = Number.POSITIVE_INFINITY;
      stamps.keep([]);
    }
    spokenTo = primary;
  };
  /** Which nodes have lost their way to Redis, of those whose agents may have: it takes some looks until that is known. */
  const findStranded = async (nowMs: number): Promise<ReadonlySet<string>> => {
    const suspects = records.flatMap(({ nodeId, updatedAtMs }) => (nodeId === null || nowMs - updatedAtMs < SUSPECT_MS ? [] : [nodeId]));
    stamps.keep(suspects);
    const isHearing = monotonicMs() - hearingSinceMs >= HEARING_MS;
    const found = await Promise.all(
      suspects.map(async (nodeId) => {
        const stamp = await readStamp(redis, nodeId);
        const stillMs = stamp === null ? 0 : stamps.note(nodeId, stamp);
        return isHearing && stillMs >= STILL_MS && Math.max(stillMs, nowMs - (stamp ?? 0) * 1_000) >= STRANDED_MS;
      }),
    );
    return new Set(suspects.filter((_one, index) => found[index]));
  };
  const isQuiet = (name: string): boolean => quiet.some((one) => one.machine === name);
  const isCutOff = (name: string): boolean => {
    const nowMs = monotonicMs();
    return nowMs - (outOfReach.get(name) ?? Infinity) >= CUT_OFF_MS && nowMs - heardAtMs < HEARD_MS && !isQuiet(name);
  };
  const tick = async (): Promise<void> => {
    if (redis.status !== 'ready' || options.maySpeak?.() === false) return;
    const heard = heardOf(await redis.eval(TELL, 2, SIGHTS_KEY, NODES_KEY, machine, [...outOfReach.keys()].join(' ')));
    records = parseNodeRecords(heard.records);
    await keepOnce(heard.nowMs);
    follow();
    const sights = parseSights(heard.sights);
    heardAtMs = monotonicMs();
    withMostSinceMs = areMostHeard(records, sights, heard.nowMs) ? Math.min(withMostSinceMs, heardAtMs) : Number.POSITIVE_INFINITY;
    const silent = findSilent(records, sights, heard.nowMs);
    const vanished = findVanished(silent, sights, heard.nowMs);
    const strandedNodes = await findStranded(heard.nowMs);
    const stranded = silent.filter((one) => one.nodeId !== null && strandedNodes.has(one.nodeId) && !vanished.includes(one));
    quiet = findQuiet(records, sights, heard.nowMs);
    for (const record of [...vanished, ...stranded]) await remove(record);
    const news = JSON.stringify([records.map((one) => [one.machine, one.state, one.nodeId]), quiet.map((one) => one.machine)]);
    // Its announcement may have been missed, right after Redis moved.
    if (news !== told) options.onChange?.();
    told = news;
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.debug({ err: error }, 'no word given'));
  const alert = setInterval(() => outOfReach.size > 0 && ticker.poke(), ALERT_PERIOD_MS);
  redis.on('ready', () => ticker.poke());

  return {
    isOutOfReach: (name) => outOfReach.has(name),
    isCutOff,
    isQuiet,
    isAlone: () => watches.size > 0 && [...watches.keys()].every((name) => outOfReach.has(name)),
    isWithMost: () => monotonicMs() - withMostSinceMs >= HEARING_MS && monotonicMs() - heardAtMs < HEARD_MS,
    speechlessMs: () => monotonicMs() - heardAtMs,
    missedMs(host) {
      const machines = records.filter((one) => hostOf(one.signalling) === host).map((one) => outOfReach.get(one.machine) ?? Infinity);
      return Math.max(0, monotonicMs() - Math.min(Infinity, ...machines));
    },
    async stop() {
      clearInterval(alert);
      await Promise.all([ticker.stop(), ...[...watches.values()].map((one) => one.stop())]);
    },
  };
}

function heardOf(reply: unknown): { nowMs: number; sights: Record<string, string>; records: Record<string, string> } {
  const [now, sights, records] = Array.isArray(reply) ? reply : [];
  return { nowMs: Number(now), sights: fieldsOf(sights), records: fieldsOf(records) };
}

/** What HGETALL gives inside a script: names and values in turn. */
function fieldsOf(reply: unknown): Record<string, string> {
  const words = Array.isArray(reply) ? reply.map(String) : [];
  return Object.fromEntries(words.flatMap((word, index) => (index % 2 === 0 ? [[word, words[index + 1] ?? ''] as const] : [])));
}
