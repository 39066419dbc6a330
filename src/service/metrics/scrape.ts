import { readdir, stat } from 'node:fs/promises';
import { cpuUsage, memoryUsage, resourceUsage, uptime } from 'node:process';
import type { Store } from '../store/store.ts';
import type { CourierCounters } from '../webhooks/courier.ts';
import type { IncomingCounters } from '../webhooks/incoming-counters.ts';
import { createExposition } from './exposition.ts';
import type { Exposition } from './exposition.ts';
import type { Counts } from './request-times.ts';

export interface ScrapeDeps {
  readonly counts: Counts;
  readonly store: Pick<Store, 'measure'>;
  /** LiveKit's webhooks. */
  readonly incoming: Pick<IncomingCounters, 'snapshot'>;
  /** Attempts to send one's own. */
  readonly outgoing: Readonly<CourierCounters>;
  /** The SQLite file; another database has none. */
  readonly database: string;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** What the service has to tell at this moment, for Prometheus. Nothing of it is kept between two scrapes. */
export async function scrape(deps: ScrapeDeps): Promise<string> {
  const out = createExposition();
  addRequests(out, deps.counts);
  addWebhooks(out, deps);
  await addState(out, deps);
  await addProcess(out, deps.now());
  return out.text();
}

function addRequests(out: Exposition, { routes, webhookLag }: Counts): void {
  const asked = routes.filter(({ statuses }) => statuses.some((count) => count > 0));
  out.counter(
    'livekit_fleet_http_requests_total',
    'Requests answered, by route and class of status',
    asked.flatMap(({ method, route, statuses }) =>
      [...statuses].flatMap((count, hundreds) => (count === 0 ? [] : [[{ method, route, status: `${hundreds}xx` }, count] as const])),
    ),
  );
  out.histogram(
    'livekit_fleet_http_request_duration_seconds',
    'From a request to its answer',
    asked.map(({ method, route, times }) => [{ method, route }, times]),
  );
  out.histogram('livekit_fleet_webhook_lag_seconds', 'From LiveKit’s making of an event to its arrival', [[{}, webhookLag]]);
}

function addWebhooks(out: Exposition, { incoming, outgoing }: ScrapeDeps): void {
  const { taken, late, unknown, duplicate, badSignature, badBody } = incoming.snapshot();
  out.counter('livekit_fleet_webhooks_received_total', 'LiveKit’s webhooks: events taken, those that had come before, and those refused', [
    [{ result: 'taken' }, taken],
    [{ result: 'duplicate' }, duplicate],
    [{ result: 'bad_signature' }, badSignature],
    [{ result: 'bad_body' }, badBody],
  ]);
  out.counter('livekit_fleet_webhooks_odd_total', 'Of the events taken: about a life of a room that is over or not known, or of an unknown kind', [
    [{ why: 'late' }, late],
    [{ why: 'unknown' }, unknown],
  ]);
  out.counter('livekit_fleet_webhooks_sent_total', 'Outgoing webhooks: attempts that an endpoint took or not, and messages given up', [
    [{ result: 'delivered' }, outgoing.delivered],
    [{ result: 'failed' }, outgoing.failed],
    [{ result: 'dead' }, outgoing.dead],
  ]);
}

async function addState(out: Exposition, { store, database, now }: ScrapeDeps): Promise<void> {
  const { rooms, participants, waiting, oldestWaitingAtMs, deadLetters } = await store.measure();
  out.gauge('livekit_fleet_rooms', 'Rooms that LiveKit has made and that have not ended', rooms);
  out.gauge('livekit_fleet_participants', 'Participants in them', participants);
  out.gauge('livekit_fleet_outbox_messages', 'Outgoing webhooks that wait', waiting);
  out.gauge('livekit_fleet_outbox_oldest_seconds', 'Age of the oldest of them', oldestWaitingAtMs === null ? 0 : Math.max(0, now() - oldestWaitingAtMs) / 1000);
  out.gauge('livekit_fleet_outbox_dead_letters', 'Outgoing webhooks that were given up', deadLetters);
  for (const [name, path, help] of [
    ['database', database, 'Size of the SQLite file'],
    ['database_log', `${database}-wal`, 'Size of its write-ahead log'],
  ] as const) {
    const size = await stat(path).then(
      (one) => one.size,
      () => null,
    );
    if (size !== null) out.gauge(`livekit_fleet_${name}_bytes`, help, size);
  }
}

/** The names that Prometheus' own client libraries give. */
async function addProcess(out: Exposition, nowMs: number): Promise<void> {
  const { user, system } = cpuUsage();
  const { rss, heapUsed, heapTotal } = memoryUsage();
  out.counter('process_cpu_seconds_total', 'CPU time in user and system mode', [[{}, (user + system) / 1e6]]);
  out.gauge('process_resident_memory_bytes', 'Resident memory', rss);
  out.gauge('process_resident_memory_max_bytes', 'Greatest resident memory so far', resourceUsage().maxRSS * 1024);
  out.gauge('process_start_time_seconds', 'When the process was started, since 1970', Math.round(nowMs / 1000 - uptime()));
  out.gauge('nodejs_heap_size_used_bytes', 'Heap in use', heapUsed);
  out.gauge('nodejs_heap_size_total_bytes', 'Heap', heapTotal);
  const files = await readdir('/proc/self/fd').catch(() => null);
  if (files !== null) out.gauge('process_open_fds', 'Open file handles', files.length);
}
