import { routes, takesInput } from './contract.ts';
import type { Operations, ProblemCode, RequestOptions } from './contract.ts';

export type { Operations, ProblemCode, RequestOptions } from './contract.ts';

/** A request that the API refused (RFC 9457); `code` is for programs, `detail` for people, `requestId` for who reads the service's log. */
export class ApiError extends Error {
  override readonly name = 'ApiError';
  readonly status: number;
  readonly code: ProblemCode | 'UNKNOWN';
  readonly detail: string;
  readonly requestId: string | null;

  constructor(answer: { status: number; code: ProblemCode | 'UNKNOWN'; detail: string; requestId: string | null }) {
    super(`${answer.code} (${answer.status}): ${answer.detail}`);
    this.status = answer.status;
    this.code = answer.code;
    this.detail = answer.detail;
    this.requestId = answer.requestId;
  }
}

export interface ClientOptions {
  /** Such as `https://meet.example.com`, or inside the network `http://192.168.1.1:8080`. */
  readonly baseUrl: string;
  /** A server token, or an end user's JWT; a function where it changes. */
  readonly token: string | (() => string | Promise<string>);
  /** Of the texts of errors; the API's default is English. */
  readonly language?: 'zh' | 'en';
  /** For one attempt; 15,000 by default. */
  readonly timeoutMs?: number;
  /** Further attempts where that does no harm: after 429, and for what may be sent twice after 503 or without an answer. 2 by default. */
  readonly retries?: number;
  /** In place of the platform's own. */
  readonly fetch?: typeof globalThis.fetch;
}

const FIRST_PAUSE_MS = 200;
const LONGEST_PAUSE_MS = 10_000;
const WITH_BODY: ReadonlySet<string> = new Set(['POST', 'PUT', 'PATCH']);

/** A client of the API of livekit-fleet's business service: a method for each operation. */
export function createClient(options: ClientOptions): Operations {
  const { baseUrl, timeoutMs = 15_000, retries = 2, language } = options;
  const send = options.fetch ?? globalThis.fetch.bind(globalThis);
  const base = `${baseUrl.replace(/\/+$/, '')}/api/v1`;

  async function attempt(request: Sending): Promise<Response> {
    const { method, url, body, idempotencyKey, signal } = request;
    const deadline = AbortSignal.timeout(timeoutMs);
    return send(url, {
      method,
      headers: {
        authorization: `Bearer ${typeof options.token === 'function' ? await options.token() : options.token}`,
        ...(language === undefined ? {} : { 'accept-language': language }),
        ...(body === undefined ? {} : { 'content-type': 'application/json' }),
        ...(idempotencyKey === undefined ? {} : { 'idempotency-key': idempotencyKey }),
      },
      ...(body === undefined ? {} : { body: JSON.stringify(body) }),
      signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
    });
  }

  async function call(request: Sending): Promise<unknown> {
    // What is sent twice does the same as once.
    const isRepeatable = request.method !== 'POST' || request.idempotencyKey !== undefined;
    for (let left = retries, pauseMs = FIRST_PAUSE_MS; ; left--, pauseMs *= 2) {
      const answer = await attempt(request).catch((error: unknown) => {
        if (left <= 0 || !isRepeatable || request.signal?.aborted === true) throw error;
        return null;
      });
      if (answer?.ok === true) return answer.status === 204 ? undefined : answer.json();
      const mayRepeat = answer === null || answer.status === 429 || (answer.status === 503 && isRepeatable);
      if (answer !== null && (!mayRepeat || left <= 0)) throw await errorOf(answer);
      await answer?.body?.cancel();
      const seconds = Number(answer?.headers.get('retry-after') ?? 0);
      await pause(Math.min(Math.max(seconds * 1000, pauseMs), LONGEST_PAUSE_MS), request.signal);
    }
  }

  const methods = Object.entries(routes).map(([name, [method, path]]) => [
    name,
    (...given: unknown[]): Promise<unknown> => {
      const rest = [...given];
      const filled = path.replace(/:\w+/g, () => encodeURIComponent(String(rest.shift())));
      const hasInput = takesInput.has(name);
      const input = hasInput ? (rest.shift() as Record<string, unknown> | undefined) : undefined;
      const more = (rest.shift() ?? {}) as RequestOptions;
      const isBody = WITH_BODY.has(method);
      const url = `${base}${filled}${isBody ? '' : queryOf(input)}`;
      return call({ method, url, body: isBody && hasInput ? (input ?? {}) : undefined, ...more });
    },
  ]);
  return Object.fromEntries(methods) as Operations;
}

interface Sending extends RequestOptions {
  readonly method: string;
  readonly url: string;
  readonly body: unknown;
}

function queryOf(input: Record<string, unknown> | undefined): string {
  const pairs = Object.entries(input ?? {}).filter(([, value]) => value !== undefined && value !== null);
  return pairs.length === 0 ? '' : `?${new URLSearchParams(pairs.map(([name, value]): [string, string] => [name, String(value)])).toString()}`;
}

async function errorOf(answer: Response): Promise<ApiError> {
  const text = await answer.text();
  let problem: { code?: ProblemCode; detail?: string } = {};
  try {
    problem = JSON.parse(text) as typeof problem;
  } catch {
    // Whoever answered is not the API: a proxy before it.
    problem = { detail: text.slice(0, 200) };
  }
  return new ApiError({ status: answer.status, code: problem.code ?? 'UNKNOWN', detail: problem.detail ?? '', requestId: answer.headers.get('x-request-id') });
}

function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const stop = (): void => {
      clearTimeout(timer);
      reject(signal?.reason instanceof Error ? signal.reason : new Error('aborted'));
    };
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', stop);
      resolve();
    }, ms);
    signal?.addEventListener('abort', stop, { once: true });
  });
}
