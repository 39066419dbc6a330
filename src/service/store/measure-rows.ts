import { first } from './work.ts';
import type { Work } from './work.ts';

/** How much there is at this moment. */
export interface Measures {
  /** Rooms that LiveKit has made and that have not ended, and who is in them. */
  readonly rooms: number;
  readonly participants: number;
  /** Outgoing webhooks. */
  readonly waiting: number;
  readonly oldestWaitingAtMs: number | null;
  readonly deadLetters: number;
}

export function* measure(): Work<Measures> {
  const open = yield* first(
    `SELECT count(*) AS rooms, coalesce(sum(num_participants), 0) AS people FROM rooms WHERE state <> 'finished' AND livekit_created_at > 0`,
  );
  // By an index, and by the key, in whose order they are queued: a million may wait, and their bodies are not read.
  const waiting = yield* first('SELECT count(*) AS messages FROM outbox');
  const oldest = numberOrNull((yield* first('SELECT queued_at FROM outbox ORDER BY seq LIMIT 1'))?.['queued_at']);
  const dead = yield* first('SELECT count(*) AS letters FROM dead_letters');
  return {
    rooms: Number(open?.['rooms']),
    participants: Number(open?.['people']),
    waiting: Number(waiting?.['messages']),
    oldestWaitingAtMs: oldest,
    deadLetters: Number(dead?.['letters']),
  };
}

function numberOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
