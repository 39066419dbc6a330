import { stringify } from 'yaml';
import type { Settings } from '../settings/schema.ts';
import { isPublic } from '../settings/variable.ts';
import type { Topology } from '../topology/topology.ts';
import { masterName } from './redis.ts';
import { ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** User name of LiveKit's metrics endpoint; the password is the Redis password's twin, see `metricsPassword`. */
export const metricsUser = 'fleet';

/**
 * livekit.yaml. LiveKit always talks to the Sentinel and the webhook relay of its own machine, so that growing the fleet
 * or changing a webhook URL never changes this file.
 */
export function renderLivekit(settings: Settings, topology: Topology): RenderedFile {
  const config = {
    port: settings.LIVEKIT_HTTP_PORT,
    bind_addresses: [...topology.bindAddresses],
    logging: { level: settings.LOG_LEVEL, json: true },
    prometheus: { port: settings.METRICS_PORT, username: metricsUser, password: settings.REDIS_PASSWORD },
    rtc: {
      tcp_port: settings.LIVEKIT_TCP_PORT,
      port_range_start: settings.LIVEKIT_UDP_PORTS.first,
      port_range_end: settings.LIVEKIT_UDP_PORTS.last,
      use_external_ip: false,
      node_ip: topology.mediaAddress,
      ...(topology.isLoopbackOnly ? { enable_loopback_candidate: true } : {}),
    },
    redis: {
      sentinel_master_name: masterName,
      sentinel_addresses: [`127.0.0.1:${settings.SENTINEL_PORT}`],
      sentinel_password: settings.REDIS_PASSWORD,
      password: settings.REDIS_PASSWORD,
    },
    turn: { enabled: true, udp_port: settings.TURN_UDP_PORT, ...overTls(topology), ...relayPeers(topology) },
    keys: { [settings.LIVEKIT_API_KEY]: settings.LIVEKIT_API_SECRET },
    room: { auto_create: settings.ROOM_AUTO_CREATE, empty_timeout: 300 },
    ...(settings.WEBHOOK_ENABLED ? { webhook: { api_key: settings.LIVEKIT_API_KEY, urls: [`http://127.0.0.1:${settings.AGENT_PORT}/webhook`] } } : {}),
  };
  return ourFile(`${topology.layout.config}/livekit.yaml`, stringify(config));
}

function overTls({ turn }: Topology): object {
  return turn === null ? {} : { domain: turn.domain, tls_port: turn.port, cert_file: turn.certificate.copy, key_file: turn.key.copy };
}

/**
 * Whom a client may reach through the relay: this machine's LiveKit. LiveKit refuses private addresses by default, so a
 * private one of its own has to be named; no other is.
 */
function relayPeers({ mediaAddress, isLoopbackOnly }: Topology): { allow_restricted_peer_cidrs?: string[] } {
  if (isLoopbackOnly) return { allow_restricted_peer_cidrs: ['127.0.0.0/8'] };
  return isPublic(mediaAddress) ? {} : { allow_restricted_peer_cidrs: [`${mediaAddress}/32`] };
}
