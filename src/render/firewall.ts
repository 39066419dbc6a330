import { isIpv4 } from '../settings/variable.ts';
import type { Settings } from '../settings/schema.ts';
import { firewallBase, firewallRules, firewallScript, membersFile } from '../topology/firewall-files.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { keeperScript } from './firewall-keeper.ts';
import { ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** Our table; no other is ever touched. */
export const table = 'inet livekit_fleet';
/** After the deploy has seen all parts well, it asks the other machines; each answers within seconds. */
const TRIAL_SECONDS = 30;

/** The command line of the part. */
export function firewallCommand(settings: Settings, { layout }: Topology): string[] {
  return ['/bin/sh', firewallScript(layout), firewallRules(layout), membersFile(layout), firewallBase(layout), String(settings.HEALTH_TIMEOUT + TRIAL_SECONDS)];
}

/** The rules and the program that keeps them. */
export function renderFirewall(settings: Settings, topology: Topology): RenderedFile[] {
  const { layout } = topology;
  return [ourFile(firewallRules(layout), renderRules(settings, topology)), ourFile(firewallScript(layout), keeperScript)];
}

/**
 * Our table for `nft -f`, which loads it in one act. It only drops, and only packets of ports that a part of this machine holds: what
 * it lets pass other tables may still refuse. Strangers get no answer: a machine that is let in a moment later is then served by its next attempt.
 */
export function renderRules(settings: Settings, topology: Topology): string {
  const inner = innerPorts(settings, topology);
  const listed = [...new Set([topology.address, ...topology.redisHosts, ...settings.NODES])].filter(isIpv4);
  return `# Written by livekit-fleet; ./部署.sh deploy overwrites changes.
table ${table}
delete table ${table}
table ${table} {
	# Machines that .env names.
	set listed {
		type ipv4_addr
		elements = { ${listed.join(', ')} }
	}
	# Machines that have proved that they know the fleet's secret.
	set members {
		type ipv4_addr
	}
	chain input {
		type filter hook input priority -10; policy accept;
		iif "lo" return
		tcp dport { ${inner.join(', ')} } ip saddr @listed return
		tcp dport { ${inner.join(', ')} } ip saddr @members return
		tcp dport { ${inner.join(', ')} } counter drop
		udp dport ${settings.AGENT_PORT} limit rate over 200/second burst 400 packets counter drop
	}
${topology.parts.includes('caddy') ? gatewayRefusals(settings) : ''}}
`;
}

/**
 * Of a Caddy that restarts, nobody hears that nothing listens: a client of LiveKit tries only once to go on with its session, and
 * that attempt waits, as it does for a lost packet. Such a refusal has the sequence number 0 (RFC 9293, 3.10.7.1); connections that
 * were open are closed as ever. Whoever asks by this machine's own address is served like one from outside, as a drill's clients are.
 */
function gatewayRefusals({ HTTPS_PORT }: Settings): string {
  return `	chain output {
		type filter hook output priority -10; policy accept;
		ip saddr 127.0.0.0/8 return
		tcp sport ${HTTPS_PORT} tcp flags & rst == rst tcp sequence 0 counter drop
	}
`;
}

/** Ports that strangers must reach, as the network's own firewall wants them: `7881/tcp`. */
export function openPorts(settings: Settings, { hasMedia, parts, turn, serviceBind }: Topology): string[] {
  const { first, last } = settings.LIVEKIT_UDP_PORTS;
  const media = [`${settings.LIVEKIT_TCP_PORT}/tcp`, `${settings.TURN_UDP_PORT}/udp`, `${first}-${last}/udp`, ...(turn === null ? [] : [`${turn.port}/tcp`])];
  const gateway = [`${settings.HTTP_PORT}/tcp`, `${settings.HTTPS_PORT}/tcp`, `${settings.HTTPS_PORT}/udp`];
  const service = parts.includes('service') && !serviceBind.startsWith('127.') ? [`${settings.SERVICE_PORT}/tcp`] : [];
  return [...(parts.includes('caddy') ? gateway : []), ...service, ...(hasMedia ? media : [])];
}

/** Ports for machines of the fleet alone, of the parts that this machine has. */
export function innerPorts(settings: Settings, { parts }: Topology): number[] {
  const ports: Readonly<Partial<Record<Part, readonly number[]>>> = {
    redis: [settings.REDIS_PORT],
    sentinel: [settings.SENTINEL_PORT],
    livekit: [settings.LIVEKIT_HTTP_PORT, settings.METRICS_PORT],
    agent: [settings.AGENT_PORT],
    caddy: [settings.GATEWAY_INTERNAL_PORT],
  };
  return parts.flatMap((part) => ports[part] ?? []).toSorted((a, b) => a - b);
}
