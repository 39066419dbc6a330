import type { KeyObject } from 'node:crypto';
import { lookup as resolve } from 'node:dns';
import { Agent, request as requestHttp } from 'node:http';
import type { ClientRequest, IncomingMessage } from 'node:http';
import { Agent as TlsAgent, request as requestHttps } from 'node:https';
import type { LookupFunction } from 'node:net';
import { errorCode } from '../../clients/http-request.ts';
import type { Endpoint } from '../store/endpoint-rows.ts';
import { addressIn, refusalOf } from './address.ts';
import { keyOf, signedHeaders } from './sign.ts';

/** What an endpoint answered. `status` 0: nothing, `error` says why; `retryAfterMs`: it asked to be left alone for so long. */
export interface Answer {
  readonly status: number;
  readonly error: string | null;
  readonly retryAfterMs: number | null;
}

export interface Message {
  readonly id: string;
  readonly body: string;
}

/** Sends to one endpoint over connections that it keeps. */
export interface Sender {
  /** Never rejects. Redirects are not followed: an answer that is not 2xx is none that takes the message. */
  send(message: Message): Promise<Answer>;
  /** Cuts what is under way. */
  close(): void;
}

export interface SenderOptions {
  /** Connections at a time. */
  readonly connections: number;
  /** http to public addresses too. */
  readonly allowsHttp: boolean;
  /** Milliseconds since the epoch. */
  readonly now: () => number;
}

/** Proxies close what is idle for a minute; Node takes care of what is closed while idle. */
const IDLE_MS = 30_000;

/** @param endpoint as it is now: one that is changed needs another sender */
export function createSender({ url, secret, former, timeoutMs }: Endpoint, { connections, allowsHttp, now }: SenderOptions): Sender {
  const target = new URL(url);
  const isTls = target.protocol === 'https:';
  const policy = { isTls, allowsHttp };
  const agent = new (isTls ? TlsAgent : Agent)({ keepAlive: true, maxSockets: connections, timeout: IDLE_MS });
  const open = isTls ? requestHttps : requestHttp;
  const lookup = checkedLookup(policy);
  const literal = addressIn(url);
  const refusal = literal === null ? null : refusalOf(literal, policy);
  const keys = [keyOf(secret)];
  const formerKey = former === null ? null : keyOf(former.secret);
  const keysAt = (atMs: number): readonly KeyObject[] => (formerKey !== null && former !== null && atMs < former.untilMs ? [...keys, formerKey] : keys);
  const base = { method: 'POST', agent, lookup, protocol: target.protocol, hostname: target.hostname.replace(/^\[(.*)\]$/, '$1'), port: target.port };
  const path = `${target.pathname}${target.search}`;
  let isClosed = false;

  const attempt = (message: Message, atMs: number): Promise<Answer & { isStale: boolean }> =>
    new Promise((done) => {
      const headers = {
        ...signedHeaders({ ...message, atMs }, keysAt(atMs)),
        'content-type': 'application/json',
        'content-length': Buffer.byteLength(message.body),
        'user-agent': 'livekit-fleet',
      };
      const request: ClientRequest = open({ ...base, path, headers }, (response) => {
        response.once('close', () => clearTimeout(deadline));
        response.resume();
        const { statusCode: status = 0 } = response;
        const isTaken = status >= 200 && status < 300;
        done({ status, error: isTaken ? null : `HTTP ${status}`, retryAfterMs: retryAfterOf(response, now()), isStale: false });
      });
      // Also for a body that does not end.
      const deadline = setTimeout(() => request.destroy(Object.assign(new Error('no answer in time'), { code: 'TIMEOUT' })), timeoutMs);
      request.once('error', (error) => {
        clearTimeout(deadline);
        // A kept connection that the other side closed at the same moment has not taken the message.
        const isStale = request.reusedSocket && errorCode(error) === 'ECONNRESET';
        done({ status: 0, error: errorCode(error), retryAfterMs: null, isStale });
      });
      request.end(message.body);
    });

  return {
    async send(message) {
      if (refusal !== null) return { status: 0, error: refusal, retryAfterMs: null };
      const first = await attempt(message, now());
      return first.isStale && !isClosed ? attempt(message, now()) : first;
    },
    close() {
      isClosed = true;
      agent.destroy();
    },
  };
}

/** Looks a name up, and refuses what refusalOf refuses: a name may lead elsewhere than when it was given. */
function checkedLookup(policy: { isTls: boolean; allowsHttp: boolean }): LookupFunction {
  return (host, options, done) => {
    resolve(host, { ...options, all: true }, (error, addresses) => {
      if (error !== null) return done(error, []);
      const allowed = addresses.filter(({ address }) => refusalOf(address, policy) === null);
      const [first] = allowed;
      if (first === undefined) {
        const refusal = addresses[0] === undefined ? 'ENOTFOUND' : (refusalOf(addresses[0].address, policy) ?? 'ENOTFOUND');
        return done(Object.assign(new Error(`${host}: ${refusal}`), { code: refusal }), []);
      }
      return options.all === true ? done(null, allowed) : done(null, first.address, first.family);
    });
  };
}

/** RFC 9110, 10.2.3: seconds or a date. */
function retryAfterOf(response: IncomingMessage, nowMs: number): number | null {
  const text = response.headers['retry-after'];
  if (text === undefined) return null;
  const ms = /^\d{1,9}$/.test(text) ? Number(text) * 1000 : Date.parse(text) - nowMs;
  return Number.isFinite(ms) && ms > 0 ? ms : null;
}
