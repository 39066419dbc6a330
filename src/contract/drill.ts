import * as z from 'zod';
import { machineName } from './node-record.ts';
import { parseJson } from '../kernel/parse-json.ts';

/** What a fault may cost at most; times in milliseconds. */
export interface DrillLimits {
  /** The longest time without sound in a meeting of the place. */
  readonly gapMs: number;
  /** From the fault to the first new room. */
  readonly roomMs?: number;
  /** Of the two clients. */
  readonly reconnections?: number;
  /** Until what failed answers again. */
  readonly answerMs?: number;
  /** From then on, until the clients have their signalling. */
  readonly signallingMs?: number;
}

/** A fault that is held on purpose. */
export interface DrillFault {
  /** The machine that it meets: one of the media machines without the Redis primary, the one with it, or machine 1. */
  readonly at: 'media' | 'primary' | 'gateway';
  /** Where the two clients meet. */
  readonly meeting: 'media' | 'primary';
  readonly how: { readonly kill: 'livekit' | 'redis' | 'agent' | 'service' | 'caddy' } | { readonly cutSeconds: number };
  readonly limits: DrillLimits;
}

/** The faults, by the name that `drill` takes, the mildest first. */
export const drillFaults = {
  agent: { at: 'media', meeting: 'media', how: { kill: 'agent' }, limits: { gapMs: 200, reconnections: 0, answerMs: 2_000 } },
  service: { at: 'gateway', meeting: 'media', how: { kill: 'service' }, limits: { gapMs: 200, reconnections: 0, answerMs: 2_000 } },
  caddy: { at: 'gateway', meeting: 'media', how: { kill: 'caddy' }, limits: { gapMs: 200, answerMs: 2_000, signallingMs: 2_000 } },
  redis: { at: 'primary', meeting: 'media', how: { kill: 'redis' }, limits: { gapMs: 200, roomMs: 3_000, reconnections: 0 } },
  livekit: { at: 'media', meeting: 'media', how: { kill: 'livekit' }, limits: { gapMs: 1_000 } },
  cut: { at: 'media', meeting: 'media', how: { cutSeconds: 20 }, limits: { gapMs: 3_500 } },
  'cut-primary': { at: 'primary', meeting: 'primary', how: { cutSeconds: 20 }, limits: { gapMs: 5_000, roomMs: 4_000 } },
} as const satisfies Readonly<Record<string, DrillFault>>;

/** The name of a fault. */
export type DrillName = keyof typeof drillFaults;

/** True for the name of a fault. */
export function isDrillName(name: string): name is DrillName {
  return Object.hasOwn(drillFaults, name);
}

/** What the clients' process gets as the first line of its standard input, since it holds secrets. It ends when the input does. */
export const drillClientsSchema = z.object({
  /** Public base address without a trailing slash. */
  apiUrl: z.url({ protocol: /^https?$/ }),
  apiToken: z.string(),
  /** Null: nobody meets. `machine`: the node of the room, null for any. `isRelayed`: no way but through TURN. */
  meeting: z.object({ machine: machineName.nullable(), isRelayed: z.boolean() }).nullable(),
  /** So many new rooms are asked for; 0: none. */
  roomsPerSecond: z.number().nonnegative(),
});

export type DrillClients = z.infer<typeof drillClientsSchema>;

/** What a meeting saw from its first sound to its end. */
const countsSchema = z.object({
  kind: z.literal('counts'),
  sent: z.number(),
  received: z.number(),
  /** Number of the last message that came. */
  last: z.number(),
  reconnections: z.number(),
  frames: z.number(),
  silent: z.number(),
  longestSilenceMs: z.number(),
  /** From one sound to the next by the clock, also while no track was there at all. */
  longestGapMs: z.number(),
  /** When a client was last back after a reconnection, in milliseconds since 1970; 0: none was. */
  backAtMs: z.number(),
  /** What happened to the clients, with the time of day (UTC). */
  timeline: z.array(z.string()),
});

/** A line of what the clients' process says; times in milliseconds since 1970. */
export const drillWordSchema = z.discriminatedUnion('kind', [
  /** Sound flows in the room. */
  z.object({ kind: z.literal('started'), room: z.string() }),
  /** Sound was heard; every fifth of a second. */
  z.object({ kind: z.literal('sound'), atMs: z.number() }),
  /** A room was asked for. `path`: that of its node, '' for any, or where it was not made. */
  z.object({ kind: z.literal('room'), startedMs: z.number(), endedMs: z.number(), isCreated: z.boolean(), path: z.string() }),
  /** Nothing could be begun. */
  z.object({ kind: z.literal('failed'), detail: z.string() }),
  countsSchema,
]);

export type DrillWord = z.infer<typeof drillWordSchema>;
export type DrillCounts = z.infer<typeof countsSchema>;
/** A room that was asked for. */
export type RoomAttempt = Extract<DrillWord, { kind: 'room' }>;

/** Null for what is no word, such as a line of the client's native part. Throws nothing. */
export function parseDrillWord(line: string): DrillWord | null {
  return parseJson(drillWordSchema, line);
}

/** What a fault did cost, in the units of its limits; null where nobody looked. */
export type DrillMeasures = { readonly [Name in keyof Required<DrillLimits>]: number | null };

/**
 * Works out what a fault did cost.
 * @param seen.struckMs when it was held at the earliest, in milliseconds since 1970
 * @param seen.readyMs from when on a new room is one after the fault
 * @param seen.isSilent no sound came any more
 * @param seen.patienceMs what never came back counts as this long
 */
export function measureDrill(
  { rooms, answers, counts }: { rooms: readonly RoomAttempt[]; answers: readonly { atMs: number; ok: boolean }[]; counts: DrillCounts },
  seen: { struckMs: number; readyMs: number; isSilent: boolean; patienceMs: number },
): DrillMeasures {
  const { struckMs, readyMs, isSilent, patienceMs } = seen;
  const created = rooms.filter((one) => one.isCreated && one.startedMs >= readyMs).map((one) => one.endedMs);
  const failedMs = answers.findLast((one) => !one.ok && one.atMs >= struckMs)?.atMs ?? null;
  // One that is back before anybody asked never failed to answer.
  const answeredMs = failedMs === null ? struckMs : (answers.find((one) => one.ok && one.atMs > failedMs)?.atMs ?? null);
  return {
    gapMs: isSilent ? patienceMs : counts.longestGapMs,
    roomMs: rooms.length === 0 ? null : created.length === 0 ? patienceMs : Math.min(...created) - struckMs,
    reconnections: counts.reconnections,
    answerMs: answers.length === 0 ? null : answeredMs === null ? patienceMs : answeredMs - struckMs,
    signallingMs: answers.length === 0 ? null : answeredMs === null ? patienceMs : Math.max(0, counts.backAtMs - answeredMs),
  };
}
