import * as z from 'zod';
import { StepError, rootMessage } from './step.ts';

const roomSchema = z.looseObject({ id: z.string() });
const joinSchema = z.looseObject({ url: z.string(), token: z.string() });
const eventsSchema = z.looseObject({ events: z.array(z.looseObject({ event: z.string(), identity: z.string().nullable().optional() })) });

/** The room API as a client sees it. */
export interface RoomApi {
  createRoom(): Promise<string>;
  join(room: string, identity: string): Promise<{ url: string; token: string }>;
  leave(room: string, identity: string): Promise<void>;
  events(room: string): Promise<Array<{ event: string; identity?: string | null | undefined }>>;
}

/** @param options.apiUrl base address without a trailing slash */
export function roomApi(options: { apiUrl: string; apiToken: string; timeoutMs: number }): RoomApi {
  async function call(method: string, path: string, body?: unknown): Promise<unknown> {
    let response: Response;
    try {
      response = await fetch(`${options.apiUrl}/api/v1${path}`, {
        method,
        headers: { authorization: `Bearer ${options.apiToken}`, ...(body === undefined ? {} : { 'content-type': 'application/json' }) },
        signal: AbortSignal.timeout(options.timeoutMs),
        ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      });
    } catch (error) {
      const message = rootMessage(error);
      throw new StepError(/certificate|self-signed|issuer/i.test(message) ? 'TLS_UNTRUSTED' : 'API_UNREACHABLE', `${options.apiUrl}: ${message}`, {
        cause: error,
      });
    }
    const text = await response.text();
    if (response.ok) return text === '' ? null : JSON.parse(text);
    const likely =
      response.status === 401
        ? 'API_UNAUTHORIZED'
        : text.includes('LIVEKIT_UNAVAILABLE')
          ? 'LIVEKIT_UNAVAILABLE'
          : response.status >= 500
            ? 'API_UNREACHABLE'
            : 'API_REFUSED';
    throw new StepError(likely, `${method} ${path}: HTTP ${response.status} ${text.slice(0, 300)}`);
  }
  return {
    createRoom: async () => roomSchema.parse(await call('POST', '/rooms', { name: 'verify', emptyTimeout: 20 })).id,
    join: async (room, identity) => joinSchema.parse(await call('POST', `/rooms/${room}/join`, { identity })),
    async leave(room, identity) {
      await call('POST', `/rooms/${room}/leave`, { identity });
    },
    events: async (room) => eventsSchema.parse(await call('GET', `/rooms/${room}/events`)).events,
  };
}
