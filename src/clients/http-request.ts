import { request as requestHttp } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { request as requestHttps } from 'node:https';
import type { RequestOptions as TlsRequestOptions } from 'node:https';
import { isIP } from 'node:net';
import type { LookupFunction } from 'node:net';
import type { SecureContext } from 'node:tls';

/** One HTTP request; `timeoutMs` bounds the whole exchange, from connecting to the last byte of the answer. */
export interface HttpRequest {
  readonly url: string;
  readonly method?: 'GET' | 'POST' | 'PUT' | 'DELETE';
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: Uint8Array | string;
  readonly timeoutMs: number;
  /** IP address to connect to without asking for that of the URL's host; name checks and headers stay those of the URL. */
  readonly address?: string;
  /** What vouches for the other side; Node's own roots by default. */
  readonly secureContext?: SecureContext;
  /** The answer's bytes that are kept; what comes after is read and dropped. */
  readonly maxBodyBytes?: number;
  readonly signal?: AbortSignal;
}

export interface HttpAnswer {
  readonly status: number;
  readonly text: string;
}

const MAX_BODY_BYTES = 4 * 1024 * 1024;

/**
 * Sends one request on a connection of its own (so a stale kept-alive socket is never taken for a dead server)
 * and follows no redirect. Resolves for every status; rejects with Node's error where there is no answer in time.
 */
export function sendRequest(request: HttpRequest): Promise<HttpAnswer> {
  const deadline = AbortSignal.timeout(request.timeoutMs);
  const options: TlsRequestOptions = {
    method: request.method ?? 'GET',
    headers: { ...request.headers, ...(request.body === undefined ? {} : { 'content-length': String(Buffer.byteLength(request.body)) }) },
    agent: false,
    signal: request.signal === undefined ? deadline : AbortSignal.any([deadline, request.signal]),
    ...(request.address === undefined ? {} : { lookup: alwaysTo(request.address) }),
    ...(request.secureContext === undefined ? {} : { secureContext: request.secureContext }),
  };
  return new Promise((resolve, reject) => {
    const onAnswer = (answer: IncomingMessage): void => {
      collect(answer, request.maxBodyBytes ?? MAX_BODY_BYTES).then(resolve, reject);
    };
    const open = request.url.startsWith('https:') ? requestHttps : requestHttp;
    const sent: ClientRequest = open(request.url, options, onAnswer);
    sent.on('error', reject);
    sent.end(request.body);
  });
}

/** A look-up that knows one address only. */
function alwaysTo(address: string): LookupFunction {
  const family = isIP(address);
  return (_host, { all }, done) => (all === true ? done(null, [{ address, family }]) : done(null, address, family));
}

async function collect(answer: IncomingMessage, maxBodyBytes: number): Promise<HttpAnswer> {
  const chunks: Buffer[] = [];
  let size = 0;
  for await (const chunk of answer as AsyncIterable<Buffer>) {
    if (size < maxBodyBytes) chunks.push(chunk);
    size += chunk.length;
  }
  return { status: answer.statusCode ?? 0, text: Buffer.concat(chunks).toString('utf8') };
}

/** Node's error code (`ECONNREFUSED`, `ABORT_ERR`, …) or the error's name. */
export function errorCode(error: unknown): string {
  if (!(error instanceof Error)) return 'UNKNOWN';
  return 'code' in error && typeof error.code === 'string' ? error.code : error.name;
}
