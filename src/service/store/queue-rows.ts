import { all, change, first } from './work.ts';
import type { Row, Value, Work } from './work.ts';

/** A message that waits for an endpoint. */
export interface QueuedMessage {
  readonly seq: number;
  readonly room: string;
  /** Its `webhook-id`. */
  readonly id: string;
  readonly body: string;
  readonly queuedAtMs: number;
  readonly attempts: number;
  /** Not to be tried again before. */
  readonly dueAtMs: number;
}

/** A message whose attempt failed. */
export interface FailedMessage {
  readonly seq: number;
  readonly attempts: number;
  readonly error: string;
  /** When it is tried next, or was given up. */
  readonly atMs: number;
}

/** What became of messages. */
export interface Settlement {
  readonly delivered: readonly number[];
  readonly delayed: readonly FailedMessage[];
  readonly dead: readonly FailedMessage[];
}

/** A message that was given up. */
export interface DeadLetter extends FailedMessage {
  readonly id: string;
  readonly room: string;
  readonly type: string;
  readonly body: string;
  readonly queuedAtMs: number;
}

const COLUMNS = 'seq, room, id, body, queued_at, attempts, due_at';

/** An endpoint's messages after `seq`, in their order. */
export function* queuedAfter(endpoint: string, seq: number, limit: number): Work<QueuedMessage[]> {
  return (yield* all(`SELECT ${COLUMNS} FROM outbox WHERE endpoint = ? AND seq > ? ORDER BY seq LIMIT ?`, endpoint, seq, limit)).map(toMessage);
}

/** As `queuedAfter`, of one room. */
export function* queuedOfRoom(endpoint: string, room: string, { seq, limit }: { seq: number; limit: number }): Work<QueuedMessage[]> {
  const sql = `SELECT ${COLUMNS} FROM outbox WHERE endpoint = ? AND seq > ? AND room = ? ORDER BY seq LIMIT ?`;
  return (yield* all(sql, endpoint, seq, room, limit)).map(toMessage);
}

/** Keeps what became of messages. */
export function* settle({ delivered, delayed, dead }: Settlement): Work<void> {
  for (let from = 0; from < delivered.length; from += AT_A_TIME) {
    // Always as many, so that it is one statement to the database.
    yield* change(DELETE, ...Array.from({ length: AT_A_TIME }, (_, index) => delivered[from + index] ?? 0));
  }
  for (const { seq, attempts, error, atMs } of delayed)
    yield* change('UPDATE outbox SET attempts = ?, error = ?, due_at = ? WHERE seq = ?', attempts, error, atMs, seq);
  for (const one of dead) yield* bury('seq = ?', [one.seq], one);
}

const AT_A_TIME = 64;
const DELETE = `DELETE FROM outbox WHERE seq IN (${Array(AT_A_TIME).fill('?').join(', ')})`;

function* bury(where: string, values: readonly Value[], { attempts, error, atMs }: { attempts: number | null; error: string; atMs: number }): Work<number> {
  // What was not tried just now keeps what it met last.
  const last = attempts === null ? 'coalesce(error, CAST(? AS TEXT))' : 'CAST(? AS TEXT)';
  yield* change(
    `INSERT INTO dead_letters (seq, endpoint, room, id, type, body, queued_at, died_at, attempts, error)
     SELECT seq, endpoint, room, id, type, body, queued_at, CAST(? AS BIGINT), coalesce(CAST(? AS BIGINT), attempts), ${last} FROM outbox WHERE ${where}`,
    atMs,
    attempts,
    error,
    ...values,
  );
  return yield* change(`DELETE FROM outbox WHERE ${where}`, ...values);
}

/** Gives up `limit` at most of an endpoint's messages that were queued before then. Gives how many. */
export function* giveUp(endpoint: string, { beforeMs, nowMs, error, limit }: { beforeMs: number; nowMs: number; error: string; limit: number }): Work<number> {
  const old = yield* all('SELECT seq FROM outbox WHERE endpoint = ? AND queued_at < ? ORDER BY seq LIMIT ?', endpoint, beforeMs, limit);
  let count = 0;
  for (const { seq } of old) count += yield* bury('seq = ?', [Number(seq)], { attempts: null, error, atMs: nowMs });
  return count;
}

/** An endpoint's dead letters after `seq`, the oldest first. */
export function* deadLetters(endpoint: string, seq: number, limit: number): Work<DeadLetter[]> {
  return (yield* all('SELECT * FROM dead_letters WHERE endpoint = ? AND seq > ? ORDER BY seq LIMIT ?', endpoint, seq, limit)).map(toLetter);
}

/** Queues dead letters again, behind what waits, each with its own id: those after `seq`, `limit` at most, of these numbers or all. Gives the last one; null: none. */
export function* replay(endpoint: string, { seq, limit, letters, nowMs }: ReplayWanted): Work<ReplayedPart> {
  const part = yield* all('SELECT seq FROM dead_letters WHERE endpoint = ? AND seq > ? ORDER BY seq LIMIT ?', endpoint, seq, limit);
  const seqs = part.map((row) => Number(row['seq']));
  const wanted = letters === null ? seqs : seqs.filter((one) => letters.includes(one));
  for (const one of wanted) {
    const columns = 'endpoint, room, id, type, body';
    yield* change(`INSERT INTO outbox (${columns}, queued_at) SELECT ${columns}, CAST(? AS BIGINT) FROM dead_letters WHERE seq = ?`, nowMs, one);
    yield* change('DELETE FROM dead_letters WHERE seq = ?', one);
  }
  return { count: wanted.length, last: seqs.at(-1) ?? null };
}

export interface ReplayWanted {
  readonly seq: number;
  readonly limit: number;
  readonly letters: readonly number[] | null;
  /** By the clock that tells what has waited for too long: what is being given up meanwhile is not what is queued now. */
  readonly nowMs: number;
}

export interface ReplayedPart {
  readonly count: number;
  readonly last: number | null;
}

/** How much is kept for one endpoint: some gigabyte at most. */
const MOST_WAITING = 1_000_000;
const MOST_DEAD = 100_000;
/** What waits for an endpoint that is switched off. */
export const KEEP_WAITING_MS = 24 * 3600 * 1000;

/**
 * Takes away what is kept for too long or is too much, `limit` of each at most: what waits for endpoints that are gone, dead letters from
 * before `beforeMs`; what is too old or too much to wait becomes a dead letter. Gives how much that was; 0: nothing is left.
 */
export function* tidyOutbox({ beforeMs, nowMs, limit }: { beforeMs: number; nowMs: number; limit: number }): Work<number> {
  yield* change('DELETE FROM webhook_states WHERE endpoint NOT IN (SELECT id FROM webhook_endpoints)');
  let count = 0;
  for (const table of ['outbox', 'dead_letters'])
    count += yield* change(
      `DELETE FROM ${table} WHERE seq IN (SELECT seq FROM ${table} WHERE endpoint NOT IN (SELECT id FROM webhook_endpoints) ORDER BY seq LIMIT ?)`,
      limit,
    );
  count += yield* change('DELETE FROM dead_letters WHERE seq IN (SELECT seq FROM dead_letters WHERE died_at < ? ORDER BY seq LIMIT ?)', beforeMs, limit);
  const endpoints = yield* all('SELECT id, is_enabled FROM webhook_endpoints');
  for (const { id, is_enabled: isEnabled } of endpoints) {
    const endpoint = String(id);
    const beyond = { nowMs, limit };
    if (Number(isEnabled) === 0) count += yield* giveUp(endpoint, { ...beyond, beforeMs: nowMs - KEEP_WAITING_MS, error: 'DISABLED' });
    const excess = yield* first('SELECT seq FROM outbox WHERE endpoint = ? ORDER BY seq DESC LIMIT 1 OFFSET ?', endpoint, MOST_WAITING);
    if (excess !== undefined) {
      const where = 'seq IN (SELECT seq FROM outbox WHERE endpoint = ? AND seq <= ? ORDER BY seq LIMIT ?)';
      count += yield* bury(where, [endpoint, Number(excess['seq']), limit], { attempts: null, error: 'TOO_MANY', atMs: nowMs });
    }
    const oldest = yield* first('SELECT seq FROM dead_letters WHERE endpoint = ? ORDER BY seq DESC LIMIT 1 OFFSET ?', endpoint, MOST_DEAD);
    if (oldest !== undefined)
      count += yield* change(
        'DELETE FROM dead_letters WHERE seq IN (SELECT seq FROM dead_letters WHERE endpoint = ? AND seq <= ? ORDER BY seq LIMIT ?)',
        endpoint,
        Number(oldest['seq']),
        limit,
      );
  }
  return count;
}

function toMessage(row: Row): QueuedMessage {
  return {
    seq: Number(row['seq']),
    room: String(row['room']),
    id: String(row['id']),
    body: String(row['body']),
    queuedAtMs: Number(row['queued_at']),
    attempts: Number(row['attempts']),
    dueAtMs: Number(row['due_at']),
  };
}

function toLetter(row: Row): DeadLetter {
  return {
    seq: Number(row['seq']),
    id: String(row['id']),
    room: String(row['room']),
    type: String(row['type']),
    body: String(row['body']),
    queuedAtMs: Number(row['queued_at']),
    attempts: Number(row['attempts']),
    error: String(row['error']),
    atMs: Number(row['died_at']),
  };
}
