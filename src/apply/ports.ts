import { setTimeout as delay } from 'node:timers/promises';
import type { Host } from '../host/host.ts';
import { readListeners } from '../host/listeners.ts';
import type { Listener } from '../host/listeners.ts';
import { findUser } from '../host/service-user.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings, VariableName } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import type { Part, Topology } from '../topology/topology.ts';

interface Use {
  readonly part: Part;
  readonly protocol: Listener['protocol'];
  readonly variable: VariableName;
}

const USES: readonly Use[] = [
  { part: 'caddy', protocol: 'tcp', variable: 'HTTP_PORT' },
  { part: 'caddy', protocol: 'tcp', variable: 'HTTPS_PORT' },
  { part: 'caddy', protocol: 'udp', variable: 'HTTPS_PORT' },
  { part: 'caddy', protocol: 'tcp', variable: 'GATEWAY_INTERNAL_PORT' },
  { part: 'service', protocol: 'tcp', variable: 'SERVICE_PORT' },
  { part: 'livekit', protocol: 'tcp', variable: 'LIVEKIT_HTTP_PORT' },
  { part: 'livekit', protocol: 'tcp', variable: 'LIVEKIT_TCP_PORT' },
  { part: 'livekit', protocol: 'tcp', variable: 'METRICS_PORT' },
  { part: 'livekit', protocol: 'udp', variable: 'TURN_UDP_PORT' },
  { part: 'livekit', protocol: 'tcp', variable: 'TURN_TLS_PORT' },
  { part: 'redis', protocol: 'tcp', variable: 'REDIS_PORT' },
  { part: 'sentinel', protocol: 'tcp', variable: 'SENTINEL_PORT' },
  { part: 'agent', protocol: 'tcp', variable: 'AGENT_PORT' },
  { part: 'agent', protocol: 'udp', variable: 'AGENT_PORT' },
];

/** What is left of a part whose supervisor was killed is ending: a LiveKit that nobody is in takes up to five seconds for that. */
const ENDING_MS = 7_000;
const POLL_MS = 100;

/**
 * Refuses before anything changes when another program holds a port of a part that is about to start. One of the service user's may be
 * about to end, and is waited for.
 * @param context.starting a part that its supervisor has started since this was found out holds its own port
 * @throws FleetError PORT_TAKEN naming the program and its pid (from `ss`, where there is one); the signal's reason
 */
export async function checkPorts(
  host: Host,
  settings: Settings,
  context: { topology: Topology; manager: Pick<ServiceManager, 'status'>; starting: ReadonlySet<Part>; signal: AbortSignal },
): Promise<void> {
  const { topology, manager, starting, signal } = context;
  let listeners = readListeners();
  for (const { part, protocol, variable } of USES) {
    if (variable === 'TURN_TLS_PORT' && topology.turn === null) continue;
    if (!starting.has(part) || (variable === 'HTTP_PORT' && topology.plainUrl === null && topology.tls.kind === 'files')) continue;
    const port = Number(settings[variable]);
    for (const deadline = performance.now() + ENDING_MS; ; listeners = readListeners()) {
      const listener = listeners.find((one) => one.protocol === protocol && one.port === port);
      if (listener === undefined) break;
      const holder = await holderOf(host, port, protocol);
      if (holder !== null && (await manager.status([part]))[0]?.pid === holder.pid) break;
      const mayEnd = performance.now() < deadline && listener.uid === (await findUser(host, settings.SERVICE_USER))?.uid;
      const program = holder === null ? '?' : `${holder.name} (pid ${holder.pid})`;
      if (!mayEnd) throw new FleetError('PORT_TAKEN', { port: `${port}/${protocol}`, use: part, program, variable });
      signal.throwIfAborted();
      await delay(POLL_MS);
    }
  }
}

/** The program that holds a port; null where nobody can say. */
async function holderOf(host: Host, port: number, protocol: Listener['protocol']): Promise<{ name: string; pid: number } | null> {
  const { stdout } = await host.run(['ss', '-H', protocol === 'tcp' ? '-ltnp' : '-lunp']);
  const line = stdout.split('\n').find((one) => one.split(/\s+/)[3]?.endsWith(`:${port}`) === true);
  const [, name, pid] = /users:\(\("([^"]+)",pid=(\d+)/.exec(line ?? '') ?? [];
  return name === undefined ? null : { name, pid: Number(pid) };
}
