import { constantFrom, double, integer, option, record, sample, tuple } from 'fast-check';
import { setTimeout as delay } from 'node:timers/promises';
import { until } from '../e2e/installation.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';
import type { Meeting, Visit } from '../fleet/user.ts';
import { companions, faults, sceneOf } from './faults.ts';
import type { Fault, Scene } from './faults.ts';
import { watchPrimaries } from './primaries.ts';
import { compareWebhooks } from './webhooks.ts';

export interface ChaosOptions {
  /** The same seed plans the same faults in the same order. */
  readonly seed: number;
  /** Faults whose name it fits. */
  readonly only?: RegExp;
  /** After so long no new fault begins. */
  readonly forMs: number;
  /** Times the limits: where the cores are busy with other things. */
  readonly patience?: number;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

export interface ChaosReport {
  readonly faults: number;
  /** Visits before the first fault, and those of them that failed: more than none, and the cores are too busy to say anything of the fleet. */
  readonly calm: { readonly visits: number; readonly failed: number };
  /** What ought never to happen; none: the fleet has kept all its promises. */
  readonly violations: readonly string[];
  /** Fault → seconds until every room could be joined again, the longest; 0: at all times. */
  readonly joinable: Readonly<Record<string, number>>;
  /** Visits, new rooms that were asked for and made, and webhooks that LiveKit was thanked for. */
  readonly visits: number;
  readonly asked: number;
  readonly made: number;
  readonly webhooks: number;
  /** Seconds that two Redis took writes at the same time, the longest. */
  readonly twoPrimaries: number;
  /** Fault → seconds without sound in a meeting, the longest; those of less than a second are left out. */
  readonly gaps: Readonly<Record<string, number>>;
}

/** So long after a fault each room can be joined again. */
const JOINABLE_MS = 5_000;
/** Where a second process ends meanwhile: a Sentinel that is started anew votes a second or two later. */
const TWO_FAULTS = 1.5;
/** A primary that was cut off takes writes for as long as its replicas may be late, which is when the others choose a new one. */
const TWO_PRIMARIES_MS = 7_000;
const ROOMS = 6;
/** Two cores bear the whole fleet and all who use it: more would measure them. */
const ROOMS_PER_SECOND = 3;
/** Rooms stay without anybody in them. */
const LASTING_S = 86_400;
const MEETINGS = 2;
/** Sound is heard of five times a second. */
const GAP_MS = 1_000;
const LISTEN_MS = 100;
/** Longer than the plan's faults take. */
const STEPS = 500;
const SOUND_MS = 30_000;
/** A visit that began in time may end later. */
const VISIT_MS = 2_000;

/** Each room is visited some six times. */
const CALM_MS = 10_000;

const unit = double({ min: 0, max: 1, maxExcluded: true, noNaN: true });
const stepOf = (wanted: readonly Fault[]) =>
  record({
    fault: constantFrom(...wanted),
    who: tuple(unit, unit),
    /** How long it is held where somebody must end it. */
    holdMs: integer({ min: 4_000, max: 12_000 }),
    /** Something small that fails meanwhile. */
    companion: option(record({ fault: constantFrom(...companions), afterMs: integer({ min: 0, max: 3_000 }) }), { freq: 2 }),
  });

/** From this moment on, until the next, every room must become joinable again. */
interface Deed {
  /** Null: nothing is promised until the next. */
  readonly name: string | null;
  readonly atMs: number;
}

/**
 * Holds random faults, one after the other, while meetings, joins, new rooms and webhooks go on; nobody helps the fleet.
 * Rejects where it does not recover at all.
 */
export async function runChaos(fleet: FleetOfThree, { seed, only = /./, forMs, patience = 1, signal, ...options }: ChaosOptions): Promise<ChaosReport> {
  const say = (text: string): void => options.say(`${new Date().toISOString().slice(11, 23)} ${text}`);
  const plan = sample(stepOf(faults.filter(({ name }) => only.test(name))), { seed, numRuns: STEPS });
  const violations: string[] = [];
  const violate = (what: string): void => {
    violations.push(what);
    say(`VIOLATED: ${what}`);
  };
  await fleet.settle();
  const rooms = await Promise.all(Array.from({ length: ROOMS }, async () => fleet.user.createRoom({ name: 'chaos', emptyTimeout: LASTING_S })));
  const meetings = await Promise.all(Array.from({ length: MEETINGS }, async () => fleet.user.startMeeting()));
  const creator = await fleet.user.createRooms(ROOMS_PER_SECOND);
  const visitor = await fleet.user.visitRooms(rooms, patience);
  const primaries = watchPrimaries(fleet, say);
  const joinable: Record<string, number> = {};
  const gaps: Record<string, number> = {};
  const listening = listenForGaps(meetings);
  await delay(CALM_MS, undefined, { signal });
  const calm = { visits: visitor.visits.length, failed: visitor.visits.filter((one) => one.problem !== null).length };
  say(`nothing has failed yet: ${calm.failed} of ${calm.visits} visits failed`);
  const began = performance.now();
  /** Rooms that were ended, which nobody asked for: each is violation enough once. */
  const ended = new Set<string>();
  let held = 0;
  for (const { fault, who, holdMs, companion } of plan) {
    if (performance.now() - began > forMs) break;
    signal.throwIfAborted();
    const scene = await sceneOf(fleet, who);
    const deeds: Deed[] = [];
    const did = (name: string | null): void => void deeds.push({ name, atMs: Date.now() });
    const names = [fault.name, ...(companion === null ? [] : [companion.fault.name])].join(', and ');
    say(`${names} (primary ${scene.primary}, replica ${scene.replica}, media ${scene.media})`);
    did(fault.isDeaf === true ? null : names);
    const [heal] = await Promise.all([fault.hold(scene), companion === null ? null : holdLater(companion.fault, companion.afterMs, scene)]);
    if (fault.isDeaf === true || companion !== null) did(names);
    await delay(fault.holdMs ?? holdMs, undefined, { signal });
    await heal();
    did(`end of: ${fault.name}`);
    await fleet.settle();
    await Promise.all(meetings.map(async (meeting) => hearSound(meeting, Date.now()))).catch((error: unknown) =>
      violate(`${names}: a meeting stays silent: ${String(error)}`),
    );
    await delay(VISIT_MS * patience, undefined, { signal });
    const visits = visitor.visits.filter(({ room }) => !ended.has(room));
    for (const { name, ms } of gapsOf(deeds, listening.taken())) gaps[name] = Math.max(gaps[name] ?? 0, ms / 1000);
    for (const { name, ms, last } of outagesOf(deeds, visits)) {
      joinable[name] = Math.max(joinable[name] ?? 0, ms / 1000);
      // What is promised is promised of one fault at a time.
      const allowedMs = JOINABLE_MS * patience * (companion === null ? 1 : TWO_FAULTS);
      if (ms > allowedMs) violate(`${name}: room ${last?.room} could not be joined ${ms} ms later: ${last?.problem}`);
    }
    // Nobody will come into them again.
    for (const { room, problem } of visits) if (problem?.includes('ROOM_FINISHED') === true) ended.add(room);
    held += 1;
  }
  visitor.end();
  creator.end();
  listening.end();
  const counts = await Promise.all(meetings.map(async (meeting) => meeting.end()));
  counts.forEach(({ timeline }, index) => say(`meeting ${index + 1}: ${timeline.join('; ')}`));
  const twoPrimariesMs = primaries.end();
  if (twoPrimariesMs > TWO_PRIMARIES_MS * patience) violate(`two Redis took writes for ${twoPrimariesMs} ms`);
  const webhooks = await compareWebhooks(fleet);
  for (const problem of webhooks.problems) violate(problem);
  return {
    faults: held,
    calm,
    violations,
    joinable,
    visits: visitor.visits.length,
    asked: creator.attempts.length,
    made: creator.attempts.filter((one) => one.isCreated).length,
    webhooks: webhooks.acknowledged,
    twoPrimaries: twoPrimariesMs / 1000,
    gaps,
  };

  async function holdLater(fault: Fault, afterMs: number, scene: Scene): Promise<void> {
    await delay(afterMs, undefined, { signal });
    // On a machine that is there; one that boots, and a process that is being started again, have had it already.
    await fault.hold({ ...scene, media: scene.other }).catch((error: unknown) => {
      if (!/is off|No main process to kill|Failed to connect to bus|not loaded/.test(String(error))) throw error;
    });
  }
}

/** For each deed the milliseconds until the last visit ended that began after it, and failed. */
function outagesOf(deeds: readonly Deed[], visits: readonly Visit[]): { name: string; ms: number; last: Visit | null }[] {
  return deeds.flatMap(({ name, atMs }, index) => {
    if (name === null) return [];
    const untilMs = deeds[index + 1]?.atMs ?? Infinity;
    const failed = visits.filter((one) => one.problem !== null && one.startedMs >= atMs && one.startedMs < untilMs);
    const last = failed.toSorted((a, b) => a.endedMs - b.endedMs).at(-1) ?? null;
    return [{ name, ms: last === null ? 0 : last.endedMs - atMs, last }];
  });
}

interface Gap {
  readonly fromMs: number;
  readonly ms: number;
}

/** Notes when meetings were silent; `taken` gives what was noted since it was asked last. */
function listenForGaps(meetings: readonly Meeting[]): { taken: () => Gap[]; end: () => void } {
  let noted: Gap[] = [];
  const heardMs = meetings.map((meeting) => meeting.lastSoundMs());
  const timer = setInterval(() => {
    for (const [index, meeting] of meetings.entries()) {
      const [fromMs, toMs] = [heardMs[index] ?? 0, meeting.lastSoundMs()];
      if (toMs - fromMs >= GAP_MS) noted.push({ fromMs, ms: toMs - fromMs });
      heardMs[index] = toMs;
    }
  }, LISTEN_MS);
  const taken = (): Gap[] => {
    const all = noted;
    noted = [];
    return all;
  };
  return { taken, end: () => clearInterval(timer) };
}

/** Each gap with the last deed before its end. */
function gapsOf(deeds: readonly Deed[], gaps: readonly Gap[]): { name: string; ms: number }[] {
  return gaps.flatMap(({ fromMs, ms }) => {
    const name = deeds.findLast((one) => one.atMs < fromMs + ms)?.name ?? null;
    return name === null ? [] : [{ name, ms }];
  });
}

async function hearSound(meeting: Meeting, sinceMs: number): Promise<void> {
  await until(async () => meeting.lastSoundMs() > sinceMs, SOUND_MS);
}
