import type { Settings } from '../settings/schema.ts';
import { isIpv4 } from '../settings/variable.ts';

/** A part that runs on a machine, in start order. */
export type Part = 'redis' | 'sentinel' | 'livekit' | 'service' | 'agent' | 'caddy';

/** Folders of one installation, all below DATA_DIR. */
export interface Layout {
  readonly root: string;
  readonly config: string;
  readonly state: string;
  readonly logs: string;
  readonly run: string;
  readonly app: string;
  /** The file that a changing command holds. */
  readonly lock: string;
}

/** How Caddy gets its certificate. */
export type Tls = { kind: 'acme'; email: string } | { kind: 'internal' } | { kind: 'files'; certFile: string; keyFile: string };

/** What runs on this machine and where; everything that rendering needs besides secrets and binaries. */
export interface Topology {
  /** Name of this machine in node paths (`/n/<machine>`) and in the registry. */
  readonly machine: string;
  /** Private address that other machines use; 127.0.0.1 in a fleet of one. */
  readonly address: string;
  /** Address announced for media. */
  readonly mediaAddress: string;
  /** Addresses that this machine's inner listeners bind: loopback, and the private address where there is one. */
  readonly bindAddresses: readonly string[];
  /** `host:port` of the business service: ours, or the operator's own. */
  readonly serviceUpstream: string;
  readonly isLoopbackOnly: boolean;
  /** What keeps the parts alive: systemd's units, or runit where systemd is not PID 1. */
  readonly supervisor: 'systemd' | 'processes';
  readonly parts: readonly Part[];
  readonly layout: Layout;
  readonly tls: Tls;
  /** Public base address of HTTP, such as `https://localhost:8443`. */
  readonly publicUrl: string;
  /** True where plain http is served beside https (browsers treat localhost as secure). */
  readonly hasPlainHttp: boolean;
}

/** What has to be known about the machine itself. */
export interface MachineFacts {
  /** Its own IPv4 addresses, the preferred first, without loopback. */
  readonly addresses: readonly string[];
  /** True where systemd is PID 1. */
  readonly hasSystemd: boolean;
}

/** Works out all roles on this machine (the guide's Q2). */
export function planTopology(settings: Settings, { addresses, hasSystemd }: MachineFacts): Topology {
  const own = settings.NODES.find((node) => addresses.includes(node));
  const address = own ?? '127.0.0.1';
  const isLoopbackOnly = settings.DOMAIN === 'localhost' && own === undefined;
  const parts: Part[] = ['redis', 'sentinel', 'livekit', 'service', 'agent', 'caddy'];
  const root = settings.DATA_DIR.replace(/\/+$/, '');
  const suffix = settings.HTTPS_PORT === 443 ? '' : `:${settings.HTTPS_PORT}`;
  return {
    machine: `m${address.replaceAll('.', '-')}`,
    address,
    mediaAddress: settings.NODE_IP !== '' ? settings.NODE_IP : isLoopbackOnly ? '127.0.0.1' : (own ?? addresses[0] ?? '127.0.0.1'),
    bindAddresses: [...new Set(['127.0.0.1', address])],
    serviceUpstream: settings.BUSINESS_UPSTREAM === '' ? `127.0.0.1:${settings.SERVICE_PORT}` : settings.BUSINESS_UPSTREAM,
    isLoopbackOnly,
    supervisor: settings.SUPERVISOR === 'auto' ? (hasSystemd ? 'systemd' : 'processes') : settings.SUPERVISOR,
    parts: settings.BUSINESS_UPSTREAM === '' ? parts : parts.filter((part) => part !== 'service'),
    layout: { root, config: `${root}/config`, state: `${root}/state`, logs: `${root}/logs`, run: `${root}/run`, app: `${root}/app`, lock: `${root}/lock` },
    tls: chooseTls(settings),
    publicUrl: `https://${settings.DOMAIN}${suffix}`,
    hasPlainHttp: settings.DOMAIN === 'localhost',
  };
}

function chooseTls(settings: Settings): Tls {
  if (settings.TLS_MODE === 'files') return { kind: 'files', certFile: settings.TLS_CERT_FILE, keyFile: settings.TLS_KEY_FILE };
  if (settings.TLS_MODE === 'internal') return { kind: 'internal' };
  if (settings.TLS_MODE === 'acme') return { kind: 'acme', email: settings.ACME_EMAIL };
  const isPrivate = isIpv4(settings.DOMAIN) || !settings.DOMAIN.includes('.') || /\.(local|lan|internal|home\.arpa|test|localhost)$/.test(settings.DOMAIN);
  return isPrivate ? { kind: 'internal' } : { kind: 'acme', email: settings.ACME_EMAIL };
}
