import * as z from 'zod';
import { parseJson } from '../kernel/parse-json.ts';

/** Redis hash: machine → what its agent is to do, as JSON. */
export const ORDERS_KEY = 'fleet:orders';
/** Redis hash: machine → how far it is with that, as JSON. */
export const REPORTS_KEY = 'fleet:order-reports';

const orderSchema = z.object({
  id: z.string().min(1),
  /** The LiveKit node that is to end, so that another one takes its place: where that has happened, there is nothing left to do. */
  nodeId: z.string().min(1),
  /** Its participants get so long to leave, in milliseconds. */
  deadlineMs: z.number().min(0),
});

/** Restart LiveKit with the care that its participants are owed. */
export type Order = z.infer<typeof orderSchema>;

const reportSchema = z.object({
  id: z.string().min(1),
  state: z.enum(['draining', 'starting', 'done', 'failed']),
  /** People in rooms of the node. */
  participants: z.number(),
  /** Until those who stayed are moved. */
  secondsLeft: z.number(),
});

/** How far an order is. */
export type OrderReport = z.infer<typeof reportSchema>;

/** Null for what is no order. Throws nothing. */
export function parseOrder(json: string): Order | null {
  return parseJson(orderSchema, json);
}

/** Null for what is no report. Throws nothing. */
export function parseReport(json: string): OrderReport | null {
  return parseJson(reportSchema, json);
}
