import { X509Certificate } from 'node:crypto';
import { connect } from 'node:tls';
import * as z from 'zod';
import type { Host } from '../host/host.ts';
import { parseJson } from '../kernel/parse-json.ts';
import type { Settings } from '../settings/schema.ts';
import { isIpv4 } from '../settings/variable.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Topology } from '../topology/topology.ts';

/** The certificate that Caddy serves for DOMAIN; without one, why the authority's last attempt failed, as Caddy says it. */
export type Served =
  | { readonly validTo: Date; readonly issuer: string; readonly reason: null }
  | { readonly validTo: null; readonly issuer: null; readonly reason: string | null };

/** A handshake on loopback takes milliseconds. */
const HANDSHAKE_MS = 1500;
/** Small beside the seconds that an authority takes, large beside a handshake. */
const POLL_MS = 200;
/** Room for what else Caddy says between two attempts; the log may hold access errors of many clients. */
const LOG_LINES = 300;

/** What Caddy logs when an issuer gave no certificate (certmagic's logger `tls.obtain`; `ts` in seconds since 1970). */
const failureLine = z.object({ logger: z.literal('tls.obtain'), ts: z.number(), identifier: z.string(), issuer: z.string(), error: z.string() });

/**
 * The certificate that is served now, awaited for up to `patienceMs`; the first failure that Caddy logs ends the waiting.
 * @param options.since failures before this time (ms since 1970) do not count
 * Throws the signal's reason only.
 */
export async function awaitCertificate(options: {
  settings: Settings;
  manager: ServiceManager;
  patienceMs: number;
  since: number;
  now: () => number;
  signal: AbortSignal;
}): Promise<Served> {
  const { settings, manager, patienceMs, since, now, signal } = options;
  const deadline = now() + patienceMs;
  for (;;) {
    const served = await readServed(settings);
    if (served !== null) return served;
    const reason = await lastFailure(manager, settings.DOMAIN, since);
    if (reason !== null || now() >= deadline) return { validTo: null, issuer: null, reason };
    signal.throwIfAborted();
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The certificate that is served at this moment; null where there is none. */
export async function readServed(settings: Settings): Promise<Served | null> {
  const certificate = await shakeHands(settings);
  return certificate === null ? null : describe(certificate);
}

/**
 * What Caddy's own authority has made for DOMAIN, from where Caddy keeps it (certmagic's storage.go): that is served while it is in force.
 * Null where there is none, or another authority is asked. A handshake would take ten times as long: Node reads all its authorities once TLS is loaded.
 * Throws nothing.
 */
export async function readKept(host: Host, settings: Settings, { tls, layout }: Topology): Promise<Served | null> {
  if (tls.kind !== 'internal') return null;
  const name = settings.DOMAIN.toLowerCase();
  const found = await host.read(`${layout.state}/caddy/certificates/local/${name}/${name}.crt`).catch(() => null);
  const certificate = found === null ? null : parse(found.content);
  return certificate === null ? null : describe(certificate);
}

/** Null for what is no certificate, such as half of one. */
function parse(text: string): X509Certificate | null {
  try {
    return new X509Certificate(text);
  } catch {
    return null;
  }
}

function describe({ validToDate, issuer }: X509Certificate): Served {
  return { validTo: validToDate, issuer: commonName(issuer), reason: null };
}

/** What Caddy shows to a client that asks for DOMAIN, trusted or not; null where it ends the handshake or does not run. */
function shakeHands({ HTTPS_PORT: port, DOMAIN: domain }: Settings): Promise<X509Certificate | null> {
  return new Promise((resolve) => {
    // RFC 6066: no address in the server name.
    const servername = isIpv4(domain) ? {} : { servername: domain };
    // Nobody is trusted or not: without a list of authorities Node does not load its own, which takes 15 ms.
    const socket = connect({ host: '127.0.0.1', port, rejectUnauthorized: false, ca: [], timeout: HANDSHAKE_MS, ...servername }, () => {
      resolve(socket.getPeerX509Certificate() ?? null);
      socket.destroy();
    });
    socket.on('timeout', () => socket.destroy());
    socket.on('error', () => resolve(null));
    socket.on('close', () => resolve(null));
  });
}

async function lastFailure(manager: ServiceManager, domain: string, since: number): Promise<string | null> {
  const lines = (await manager.tailLog('caddy', LOG_LINES)).split('\n');
  for (const line of lines.toReversed()) {
    // The supervisor's time stamp stands before Caddy's JSON.
    const failure = parseJson(failureLine, line.slice(line.indexOf('{')));
    if (failure === null || failure.identifier !== domain || failure.ts * 1000 < since) continue;
    // Whenever the agent changes Caddy's routes, Caddy drops the attempt that is under way and begins another: no failure.
    if (!failure.error.includes('context canceled')) return failure.error;
  }
  return null;
}

/** `CN=R11` of a distinguished name's lines; the whole name where it has none. */
function commonName(name: string): string {
  return /^CN=(.+)$/m.exec(name)?.[1] ?? name.replaceAll('\n', ', ');
}
