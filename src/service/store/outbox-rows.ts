import { hash } from 'node:crypto';
import { all, change } from './work.ts';
import type { Work } from './work.ts';

/** What happened, as the operator's own endpoints hear of it. */
export interface OutgoingEvent {
  /** Such as `room.started`. */
  readonly type: string;
  /** Those of one room reach an endpoint in their order. */
  readonly room: string;
  /** When it happened, since 1970. */
  readonly atMs: number;
  /** A function where to make it is work: it is called when somebody wants it. */
  readonly data: Readonly<Record<string, unknown>> | (() => Readonly<Record<string, unknown>>);
  /** Tells it from another that says the same at the same time, where that can be: its id follows from all of this. */
  readonly cause?: string;
}

/** Queues the event for every endpoint that wants it, together with the change that it tells of. Without an endpoint that is one look into an empty table. */
export function announce(event: OutgoingEvent): Work<void> {
  return announceAll([event]);
}

/** As `announce`, in this order. */
export function* announceAll(events: readonly OutgoingEvent[]): Work<void> {
  if (events.length === 0) return;
  const endpoints = yield* all('SELECT id, events FROM webhook_endpoints WHERE is_enabled = 1');
  for (const { id: endpoint, events: filter } of endpoints) {
    for (const event of events) {
      if (!isWanted(String(filter), event.type)) continue;
      const body = bodyOf(event);
      yield* change(QUEUE, String(endpoint), event.room, messageId(event, body), event.type, body);
    }
  }
}

const QUEUE = 'INSERT INTO outbox (endpoint, room, id, type, body) VALUES (?, ?, ?, ?, ?)';

/** True for a type that a filter names. @param filter comma-separated: types, `room.*` for all of a subject, `*` for all but LiveKit's own (`livekit.*`) */
export function isWanted(filter: string, type: string): boolean {
  const isNamed = (one: string): boolean =>
    one === '*' ? !type.startsWith('livekit.') : one === type || (one.endsWith('.*') && type.startsWith(one.slice(0, -1)));
  return filter.split(',').some(isNamed);
}

/** As Standard Webhooks has it: type, time, data. */
function bodyOf({ type, room, atMs, data }: OutgoingEvent): string {
  return JSON.stringify({ type, timestamp: new Date(atMs).toISOString(), data: { room, ...(typeof data === 'function' ? data() : data) } });
}

/** The same for the same event, at every endpoint and however often the work runs. */
function messageId({ cause = '' }: OutgoingEvent, body: string): string {
  return `msg_${hash('sha256', `${cause}\n${body}`, 'base64url').slice(0, 24)}`;
}
