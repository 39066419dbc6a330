import * as z from 'zod';
import { LONGEST_CUT_SECONDS } from './limits.ts';
import { parseJson } from '../kernel/parse-json.ts';

/** Redis hash: machine → what its agent is to do, as JSON. */
export const ORDERS_KEY = 'fleet:orders';
/** Redis hash: machine → how far it is with that, as JSON. */
export const REPORTS_KEY = 'fleet:order-reports';

/** A fault is held so long after it was reported: whoever ordered it hears of it first. */
export const FAULT_DELAY_MS = 500;

const restartSchema = z.object({
  id: z.string().min(1),
  /** The LiveKit node that is to end, so that another one takes its place: where that has happened, there is nothing left to do. */
  nodeId: z.string().min(1),
  /** Its participants get so long to leave, in milliseconds. */
  deadlineMs: z.number().min(0),
});

const faultSchema = z.object({
  id: z.string().min(1),
  /** By Redis TIME, in milliseconds since 1970: whoever comes back later does not hold it. */
  untilMs: z.number(),
  /** What a drill holds here: a process ends at once, or the machine is cut off from all others and comes back by itself. */
  fault: z.union([z.strictObject({ kill: z.enum(['livekit', 'redis', 'agent']) }), z.strictObject({ cutSeconds: z.int().min(1).max(LONGEST_CUT_SECONDS) })]),
});

/** A version of LiveKit. It becomes part of a path and of addresses. */
export const versionPattern = /^\d{1,6}\.\d{1,6}\.\d{1,6}(-[\w.]{1,40})?$/;

const upgradeSchema = z.object({
  id: z.uuid(),
  /** By Redis TIME, in milliseconds since 1970: who has not begun by then does not begin. */
  untilMs: z.number(),
  /** Of what it says. */
  language: z.enum(['zh', 'en']),
  /** `fetch`: bring a version into the store, the newest that can be had, the one that ran before, or this one. `to`: run it; `isNow`: do not wait for participants. */
  upgrade: z.union([
    z.strictObject({ fetch: z.union([z.literal(['newest', 'former']), z.string().regex(versionPattern)]) }),
    z.strictObject({ to: z.string().regex(versionPattern), isNow: z.boolean() }),
  ]),
});

/** Restart LiveKit with the care that its participants are owed. */
export type RestartOrder = z.infer<typeof restartSchema>;
/** Hold a fault. */
export type FaultOrder = z.infer<typeof faultSchema>;
/** Another version of LiveKit. */
export type UpgradeOrder = z.infer<typeof upgradeSchema>;
export type Order = RestartOrder | FaultOrder | UpgradeOrder;

const orderSchema = z.union([faultSchema, upgradeSchema, restartSchema]);

const reportSchema = z.object({
  id: z.string().min(1),
  state: z.enum(['draining', 'starting', 'working', 'done', 'failed']),
  /** People in rooms of the node. */
  participants: z.number(),
  /** Until those who stayed are moved. */
  secondsLeft: z.number(),
  /** What an upgrade has said last; at the end of a fetch a line of JSON. Another machine's word, which a terminal may show as it stands. */
  detail: z
    .string()
    .max(4_000)
    .default('')
    .transform((text) => text.replace(/\p{Cc}/gu, ' ')),
});

/** How far an order is. A fault is `done` shortly before it is held: its machine may not be able to say so after. */
export type OrderReport = z.infer<typeof reportSchema>;

/** Null for what is no order. Throws nothing. */
export function parseOrder(json: string): Order | null {
  return parseJson(orderSchema, json);
}

/** Null for what is no report. Throws nothing. */
export function parseReport(json: string): OrderReport | null {
  return parseJson(reportSchema, json);
}
