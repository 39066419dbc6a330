import { all, change, first } from './work.ts';
import type { Row, Work } from './work.ts';

/** One of the operator's own addresses that hear of events. Its secrets are for signing alone: nothing may log or show them. */
export interface Endpoint {
  readonly id: string;
  readonly url: string;
  readonly description: string;
  /** Comma-separated, see isWanted. */
  readonly events: string;
  readonly secret: string;
  /** Signs as well until then. */
  readonly former: { readonly secret: string; readonly untilMs: number } | null;
  readonly timeoutMs: number;
  readonly isEnabled: boolean;
  readonly disabledReason: string | null;
  readonly createdAtMs: number;
}

/** How an endpoint does. */
export interface EndpointState {
  /** Nothing has reached it since; null: the last message did. */
  readonly failingSinceMs: number | null;
  readonly error: string | null;
}

const COLUMNS = 'id, url, description, events, secret, former_secret, former_until, timeout_ms, is_enabled, disabled_reason, created_at';

export function* addEndpoint(endpoint: Endpoint): Work<void> {
  yield* change(INSERT, endpoint.id, ...valuesOf(endpoint));
}

const INSERT = `INSERT INTO webhook_endpoints (${COLUMNS}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)`;

/** Changes what `wanted` names; null where there is no such endpoint. */
export function* changeEndpoint(id: string, wanted: Partial<Endpoint>): Work<Endpoint | null> {
  const before = yield* findEndpoint(id);
  if (before === null) return null;
  const after = { ...before, ...wanted };
  yield* change(UPDATE, ...valuesOf(after), id);
  return after;
}

const UPDATE = `UPDATE webhook_endpoints SET url = ?, description = ?, events = ?, secret = ?, former_secret = ?, former_until = ?, timeout_ms = ?, is_enabled = ?,
  disabled_reason = ?, created_at = ? WHERE id = ?`;

/** False where there is no such endpoint. What waits for it goes later, a part at a time (see tidyOutbox). */
export function* removeEndpoint(id: string): Work<boolean> {
  yield* change('DELETE FROM webhook_states WHERE endpoint = ?', id);
  return (yield* change('DELETE FROM webhook_endpoints WHERE id = ?', id)) > 0;
}

export function* findEndpoint(id: string): Work<Endpoint | null> {
  const row = yield* first(`SELECT ${COLUMNS} FROM webhook_endpoints WHERE id = ?`, id);
  return row === undefined ? null : toEndpoint(row);
}

/** All, in the order in which they were made. */
export function* listEndpoints(): Work<Endpoint[]> {
  return (yield* all(`SELECT ${COLUMNS} FROM webhook_endpoints ORDER BY created_at, id`)).map(toEndpoint);
}

/** How it does, and how much waits for it or is dead. */
export function* conditionOf(id: string): Work<EndpointState & { waiting: number; dead: number }> {
  const waiting = yield* first('SELECT count(*) AS n FROM outbox WHERE endpoint = ?', id);
  const dead = yield* first('SELECT count(*) AS n FROM dead_letters WHERE endpoint = ?', id);
  return { ...(yield* stateOf(id)), waiting: Number(waiting?.['n']), dead: Number(dead?.['n']) };
}

export function* stateOf(id: string): Work<EndpointState> {
  const row = yield* first('SELECT failing_since, error FROM webhook_states WHERE endpoint = ?', id);
  return { failingSinceMs: numberOrNull(row?.['failing_since']), error: textOrNull(row?.['error']) };
}

export function* noteState(id: string, { failingSinceMs, error }: EndpointState): Work<void> {
  yield* change(NOTE, id, failingSinceMs, error);
}

const NOTE = `INSERT INTO webhook_states (endpoint, failing_since, error) VALUES (?, ?, ?)
  ON CONFLICT (endpoint) DO UPDATE SET failing_since = excluded.failing_since, error = excluded.error`;

/**
 * Takes an endpoint for one of several services until a time, or keeps it; false while it is another's. Who has it, and nobody else,
 * sends to it: so nothing is sent twice, and the order of each room is kept.
 */
export function* claimEndpoint(id: string, { by, untilMs, nowMs }: { by: string; untilMs: number; nowMs: number }): Work<boolean> {
  return (yield* change(CLAIM, id, by, untilMs, nowMs)) > 0;
}

const CLAIM = `INSERT INTO webhook_states (endpoint, claimed_by, claimed_until) VALUES (?1, ?2, ?3)
  ON CONFLICT (endpoint) DO UPDATE SET claimed_by = excluded.claimed_by, claimed_until = excluded.claimed_until
  WHERE webhook_states.claimed_by = ?2 OR webhook_states.claimed_until < ?4`;

/** Gives back all that a service has taken. */
export function* releaseEndpoints(by: string): Work<void> {
  yield* change('UPDATE webhook_states SET claimed_until = 0 WHERE claimed_by = ?', by);
}

function valuesOf(endpoint: Endpoint): Array<string | number | null> {
  const { url, description, events, secret, former, timeoutMs, isEnabled, disabledReason, createdAtMs } = endpoint;
  return [url, description, events, secret, former?.secret ?? null, former?.untilMs ?? null, timeoutMs, isEnabled ? 1 : 0, disabledReason, createdAtMs];
}

function toEndpoint(row: Row): Endpoint {
  const former = textOrNull(row['former_secret']);
  return {
    id: String(row['id']),
    url: String(row['url']),
    description: String(row['description']),
    events: String(row['events']),
    secret: String(row['secret']),
    former: former === null ? null : { secret: former, untilMs: Number(row['former_until']) },
    timeoutMs: Number(row['timeout_ms']),
    isEnabled: Number(row['is_enabled']) === 1,
    disabledReason: textOrNull(row['disabled_reason']),
    createdAtMs: Number(row['created_at']),
  };
}

function textOrNull(value: unknown): string | null {
  return value === null || value === undefined ? null : String(value);
}

function numberOrNull(value: unknown): number | null {
  return value === null || value === undefined ? null : Number(value);
}
