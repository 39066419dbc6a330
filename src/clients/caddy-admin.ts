import { isDeepStrictEqual } from 'node:util';
import { FleetError } from '../kernel/errors.ts';
import { sendRequest } from './http-request.ts';

/** Reloading takes as long as Caddy needs to provision the whole configuration: well under a second, 5 s on a busy machine. */
const TIMEOUT_MS = 5_000;

/** One value inside Caddy's running configuration, found by the `@id` of the object that holds it. */
export interface CaddyTarget {
  readonly id: string;
  readonly field: string;
}

/** Caddy's admin API on a Unix socket. */
export interface CaddyAdmin {
  /** The running value, or undefined where the id is not in the configuration. Rejects when Caddy does not answer. */
  read(target: CaddyTarget): Promise<unknown>;
  /** The whole running configuration, as JSON. Rejects when Caddy does not answer. */
  readAll(): Promise<string>;
  /** Replaces the value, which reloads Caddy. Throws CADDY_REFUSED with Caddy's reason; the former configuration then stays. */
  replace(target: CaddyTarget, value: unknown): Promise<void>;
}

/**
 * Opens Caddy's admin API at `socketPath`. Caddy (2.11) accepts any Host on a Unix socket, but refuses every request
 * with an Origin or Sec-Fetch-Mode header that is not in `admin.origins`: none is sent here.
 */
export function openCaddyAdmin(socketPath: string): CaddyAdmin {
  const headers = { host: 'localhost', 'content-type': 'application/json' };
  return {
    async read(target) {
      const answer = await sendRequest({ url: urlOf(target), headers, socketPath, timeoutMs: TIMEOUT_MS });
      if (answer.status === 404) return undefined;
      if (answer.status !== 200) throw refused(target, answer.text, answer.status);
      return JSON.parse(answer.text) as unknown;
    },
    async readAll() {
      const answer = await sendRequest({ url: 'http://localhost/config/', headers, socketPath, timeoutMs: TIMEOUT_MS });
      if (answer.status !== 200) throw refused({ id: 'config', field: '' }, answer.text, answer.status);
      return answer.text;
    },
    async replace(target, value) {
      const answer = await sendRequest({ url: urlOf(target), method: 'PATCH', headers, socketPath, body: JSON.stringify(value), timeoutMs: TIMEOUT_MS });
      if (answer.status !== 200) throw refused(target, answer.text, answer.status);
    },
  };
}

/**
 * Makes the running value equal to `value` and writes only where it differs, since every write reloads Caddy.
 * Gives what was done; `missing` means that the configuration has no such id.
 */
export async function ensureCaddyValue(admin: CaddyAdmin, target: CaddyTarget, value: unknown): Promise<'same' | 'written' | 'missing'> {
  const running = await admin.read(target);
  if (running === undefined) return 'missing';
  if (isDeepStrictEqual(running, value)) return 'same';
  await admin.replace(target, value);
  return 'written';
}

function urlOf(target: CaddyTarget): string {
  return `http://localhost/id/${target.id}/${target.field}`;
}

function refused(target: CaddyTarget, text: string, status: number): FleetError {
  return new FleetError('CADDY_REFUSED', { target: `${target.id}/${target.field}`, status, reason: text.trim().slice(0, 300) });
}
