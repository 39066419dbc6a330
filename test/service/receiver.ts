import { createServer } from 'node:http';
import type { IncomingHttpHeaders } from 'node:http';
import { text } from 'node:stream/consumers';
import { expect } from 'vitest';
import { listen } from './fixtures.ts';
import type { TestService } from './fixtures.ts';

/** A message as an endpoint got it. */
export interface Received {
  readonly id: string;
  readonly type: string;
  readonly room: string;
  readonly data: Record<string, unknown>;
  readonly body: string;
  readonly headers: Record<string, string>;
  readonly atMs: number;
  /** What it was answered. */
  readonly status: number;
}

export interface Receiver {
  readonly url: string;
  /** In the order in which they came. */
  readonly received: Received[];
  /** Those that were taken. */
  taken(): Received[];
}

export interface ReceiverAnswer {
  readonly status: number;
  readonly headers?: Record<string, string>;
}

/** An operator's own endpoint. @param answer of each message; 200 by default */
export async function startReceiver(
  answer: (message: Received, index: number) => ReceiverAnswer | Promise<ReceiverAnswer> = () => ({ status: 200 }),
): Promise<Receiver> {
  const received: Received[] = [];
  const server = createServer(async (request, response) => {
    const body = await text(request);
    const { type, data } = JSON.parse(body) as { type: string; data: Record<string, unknown> };
    const headers = plain(request.headers);
    const message = { id: headers['webhook-id'] ?? '', type, room: String(data['room'] ?? ''), data, body, headers, atMs: Date.now(), status: 0 };
    const place = received.push(message) - 1;
    const given = await answer(message, place);
    received[place] = { ...message, status: given.status };
    response.writeHead(given.status, given.headers).end();
  });
  return { url: `${await listen(server)}/hook?a=1`, received, taken: () => received.filter(({ status }) => status >= 200 && status < 300) };
}

function plain(headers: IncomingHttpHeaders): Record<string, string> {
  return Object.fromEntries(Object.entries(headers).map(([name, value]) => [name, String(value)]));
}

/** Adds an endpoint; gives its id and secret. */
export async function addEndpoint(service: TestService, wanted: Record<string, unknown>): Promise<{ id: string; secret: string }> {
  const { status, body } = await service.call('POST', '/api/v1/webhooks', wanted);
  expect(status, JSON.stringify(body)).toBe(201);
  return { id: String(body['id']), secret: String(body['secret']) };
}
