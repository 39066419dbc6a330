import * as z from 'zod';
import { parseJson } from '../kernel/parse-json.ts';

/** Redis sorted set: rooms whose node has ended, with the time (by Redis TIME, ms) at which something is to be done about each. */
export const GHOSTS_KEY = 'fleet:ghosts';

const ghostSchema = z.object({
  room: z.object({
    sid: z.string().min(1),
    name: z.string().min(1),
    metadata: z.string(),
    emptyTimeout: z.number(),
    departureTimeout: z.number(),
    creationTime: z.number(),
    creationTimeMs: z.number(),
  }),
  /** Who was in it. */
  participants: z.array(z.object({ sid: z.string().min(1), identity: z.string(), name: z.string(), metadata: z.string(), joinedAt: z.number() })),
  endedAtMs: z.number(),
  /** False until the receivers were told that the participants left; then the room is watched until somebody is back, or nobody comes. */
  isTold: z.boolean(),
  /** True once the room is removed, until the receivers were told that it has ended. */
  isRemoved: z.boolean().optional(),
});

/** A room as it was when its node ended. */
export type Ghost = z.infer<typeof ghostSchema>;

/** Reads a member of the set; null for what is none. Throws nothing. */
export function parseGhost(json: string): Ghost | null {
  return parseJson(ghostSchema, json);
}

/** Who comes back is back within seconds. LiveKit itself keeps rooms for that long, at its default. */
const SHORTEST_WAIT_MS = 20_000;

/** When nobody will come back to the room any more: LiveKit would have closed it then as well. */
export function ghostEndMs({ room, participants, endedAtMs }: Ghost): number {
  const seconds = participants.length > 0 ? room.departureTimeout : room.emptyTimeout;
  return endedAtMs + Math.max(seconds * 1000, SHORTEST_WAIT_MS);
}

const ID_PREFIX = 'EV_ENDED_';

/** True for an event that agents tell in an ended node's stead: where writes were lost, or two nodes end one after the other, the same one may be told of another second. */
export function isOfGhost(eventId: string): boolean {
  return eventId.startsWith(ID_PREFIX);
}

/** LiveKit's webhooks (protobuf's JSON of WebhookEvent) that the node could not send any more. Their ids follow from what they say: told twice they are one. */
export function leftEvents(ghost: Ghost): object[] {
  return ghost.participants.map((participant) => ({
    event: 'participant_left',
    id: `${ID_PREFIX}${participant.sid}`,
    createdAt: inSeconds(ghost.endedAtMs),
    room: roomOf(ghost),
    participant: { ...participant, joinedAt: String(participant.joinedAt), state: 'DISCONNECTED', disconnectReason: 'CONNECTION_TIMEOUT' },
  }));
}

/** See leftEvents. */
export function finishedEvent(ghost: Ghost): object {
  // A room that went on elsewhere has the same sid there, and may end in the same way again.
  return { event: 'room_finished', id: `${ID_PREFIX}${ghost.room.sid}_${ghost.endedAtMs}`, createdAt: inSeconds(ghostEndMs(ghost)), room: roomOf(ghost) };
}

function roomOf({ room }: Ghost): object {
  return { ...room, creationTime: String(room.creationTime), creationTimeMs: String(room.creationTimeMs) };
}

function inSeconds(ms: number): string {
  return String(Math.floor(ms / 1000));
}
