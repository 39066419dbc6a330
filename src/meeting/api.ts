import * as z from 'zod';
import { apiProblems } from '../contract/problems.ts';
import type { CauseCode } from '../kernel/messages/en.ts';
import { request } from './network.ts';
import { StepError } from './step.ts';

const roomSchema = z.looseObject({ id: z.string().min(1) });
const ticketSchema = z.looseObject({ url: z.string().min(1), token: z.string().min(1) });
const eventsSchema = z.looseObject({ events: z.array(z.looseObject({ event: z.string(), identity: z.string().nullish() })) });
const problemSchema = z.looseObject({ code: z.string(), detail: z.string().optional() });

/** LiveKit closes the room so many seconds after the last one left, should nobody delete it. */
const EMPTY_TIMEOUT_SECONDS = 20;

/** What a client needs to enter a room. */
export type Ticket = z.infer<typeof ticketSchema>;

/** The room API as a client sees it; every call throws StepError. */
export interface RoomApi {
  createRoom(signal: AbortSignal): Promise<string>;
  join(room: string, identity: string, signal: AbortSignal): Promise<Ticket>;
  leave(room: string, identity: string, signal: AbortSignal): Promise<void>;
  events(room: string, signal: AbortSignal): Promise<z.infer<typeof eventsSchema>['events']>;
}

/** @param options.apiUrl base address without a trailing slash */
export function roomApi(options: { apiUrl: string; apiToken: string }): RoomApi {
  async function call<T>(wanted: { method: string; path: string; body?: unknown; answer: z.ZodType<T> }, signal: AbortSignal): Promise<T> {
    const { status, text } = await request(`${options.apiUrl}/api/v1${wanted.path}`, {
      method: wanted.method,
      headers: { authorization: `Bearer ${options.apiToken}`, ...(wanted.body === undefined ? {} : { 'content-type': 'application/json' }) },
      signal,
      ...(wanted.body === undefined ? {} : { body: JSON.stringify(wanted.body) }),
    });
    const what = `${wanted.method} /api/v1${wanted.path}: HTTP ${status}`;
    const body = parseJson(text);
    if (status < 200 || status > 299) {
      const problem = problemSchema.safeParse(body).data ?? null;
      const said = problem === null ? text.slice(0, 300) : `${problem.code}: ${problem.detail ?? ''}`;
      throw new StepError(causeOf(status, problem?.code ?? null), `${what} ${said}`);
    }
    const parsed = wanted.answer.safeParse(body);
    if (!parsed.success) throw new StepError('API_FOREIGN', `${what} ${z.prettifyError(parsed.error)}`);
    return parsed.data;
  }
  return {
    async createRoom(signal) {
      // LiveKit's failures are then this step's.
      const body = { name: 'verify', emptyTimeout: EMPTY_TIMEOUT_SECONDS, start: true };
      return (await call({ method: 'POST', path: '/rooms', body, answer: roomSchema }, signal)).id;
    },
    join: (room, identity, signal) => call({ method: 'POST', path: pathOf(room, 'join'), body: { identity }, answer: ticketSchema }, signal),
    async leave(room, identity, signal) {
      await call({ method: 'POST', path: pathOf(room, 'leave'), body: { identity }, answer: z.unknown() }, signal);
    },
    events: async (room, signal) => (await call({ method: 'GET', path: pathOf(room, 'events'), answer: eventsSchema }, signal)).events,
  };
}

function pathOf(room: string, action: string): string {
  return `/rooms/${encodeURIComponent(room)}/${action}`;
}

/** Our service says what is wrong by a code; a gateway error without one is Caddy's, which misses the service. */
function causeOf(status: number, code: string | null): CauseCode {
  if (code === 'LIVEKIT_UNAVAILABLE') return code;
  if (status === 401 || status === 403) return 'API_UNAUTHORIZED';
  if (code !== null && Object.hasOwn(apiProblems, code)) return 'API_REFUSED';
  return status >= 500 ? 'SERVICE_UNAVAILABLE' : 'API_FOREIGN';
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
