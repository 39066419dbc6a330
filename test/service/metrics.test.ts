import { describe, expect, it } from 'vitest';
import { apiToken, keys, roomEvent, startLivekitStandIn, startService } from './fixtures.ts';
import type { TestService } from './fixtures.ts';
import { createHistogram, observe, TIME_BUCKETS } from '../../src/service/metrics/request-times.ts';

async function scrapeOf(service: TestService): Promise<{ status: number; type: string | null; text: string }> {
  const url = `http://127.0.0.1:${await service.listen()}/metrics`;
  const answer = await fetch(url, { headers: { authorization: `Bearer ${apiToken}` } });
  return { status: answer.status, type: answer.headers.get('content-type'), text: await answer.text() };
}

describe('/metrics', () => {
  it('tells of requests, rooms, participants, webhooks and the process, in Prometheus’ format', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    await service.call('POST', '/api/v1/rooms', { id: 'r1', start: true });
    await service.call('GET', '/api/v1/rooms/none');
    await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
    const { status, type, text } = await scrapeOf(service);
    expect([status, type]).toEqual([200, 'text/plain; version=0.0.4; charset=utf-8']);
    const samples = new Map<string, number>();
    for (const line of text
      .trimEnd()
      .split('\n')
      .filter((one) => !one.startsWith('#'))) {
      const [, name = '', value] = /^([a-z_]+(?:\{(?:[a-z]+="(?:[^"\\]|\\.)*",?)+\})?) (\S+)$/.exec(line) ?? [];
      expect([line, Number.isFinite(Number(value))]).toEqual([line, true]);
      samples.set(name, Number(value));
    }
    expect(samples.get('livekit_fleet_http_requests_total{method="POST",route="/api/v1/rooms",status="2xx"}')).toBe(1);
    expect(samples.get('livekit_fleet_http_requests_total{method="GET",route="/api/v1/rooms/:id",status="4xx"}')).toBe(1);
    expect(samples.get('livekit_fleet_http_request_duration_seconds_bucket{method="POST",route="/api/v1/rooms",le="+Inf"}')).toBe(1);
    expect([samples.get('livekit_fleet_rooms'), samples.get('livekit_fleet_participants')]).toEqual([1, 1]);
    expect(samples.get('livekit_fleet_webhook_lag_seconds_count')).toBe(1);
    expect(samples.get('livekit_fleet_outbox_messages')).toBe(0);
    expect(samples.get('livekit_fleet_webhooks_received_total{result="taken"}')).toBe(1);
    expect(samples.get('livekit_fleet_webhooks_sent_total{result="delivered"}')).toBe(0);
    for (const name of [
      ...(service.database.startsWith('/') ? ['livekit_fleet_database_bytes'] : []),
      'process_resident_memory_bytes',
      'process_open_fds',
      'process_cpu_seconds_total',
    ])
      expect(samples.get(name)).toBeGreaterThan(0);
    for (const secret of [apiToken, ...Object.values(keys)]) expect(text).not.toContain(secret);
  });

  it('is for a token of scope metrics:read alone', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    const ask = async (token: string): Promise<number> => (await service.call('GET', '/metrics', undefined, { authorization: token })).status;
    const make = async (scope: string): Promise<string> =>
      `Bearer ${String((await service.call('POST', '/api/v1/tokens', { name: scope, scopes: [scope] })).body['token'])}`;
    expect([await ask(''), await ask('Bearer wrong'), await ask(await make('rooms:*')), await ask(await make('metrics:read'))]).toEqual([401, 401, 403, 200]);
  });
});

it('a histogram counts each value once, at the first end that it does not pass', () => {
  const histogram = createHistogram(TIME_BUCKETS);
  for (const value of [0, 0.001, 0.0011, 10, 11]) observe(histogram, value);
  expect([...histogram.counts]).toEqual([2, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 1]);
  expect(histogram.sum).toBeCloseTo(21.0021);
});

it('a request’s id is the caller’s where it is well-formed, and goes back and into the log', async () => {
  const service = await startService((await startLivekitStandIn()).url);
  const url = `http://127.0.0.1:${await service.listen()}/api/v1/rooms`;
  const idFor = async (given: string): Promise<string | null> =>
    (await fetch(url, { headers: { authorization: `Bearer ${apiToken}`, 'x-request-id': given } })).headers.get('x-request-id');
  expect(await idFor('order-4711.a:b')).toBe('order-4711.a:b');
  expect(service.logs.join('')).toContain('"reqId":"order-4711.a:b"');
  for (const bad of ['short', 'with space', '"quoted-id"', 'x'.repeat(129)]) expect(await idFor(bad)).toMatch(/^[0-9a-f-]{36}$/);
});
