import { FleetError } from '../kernel/errors.ts';
import { isPlaceholder } from '../settings/parse.ts';
import type { Settings } from '../settings/schema.ts';
import { isIpv4, isPublic } from '../settings/variable.ts';

/** A part that runs on a machine, in start order. */
export type Part = 'firewall' | 'redis' | 'sentinel' | 'livekit' | 'service' | 'agent' | 'caddy' | 'sockets' | 'upgrades' | 'backups';

/** What a machine is for: the gateway runs Caddy and the business service, media machines LiveKit and Redis; or one machine does all. */
export type Role = 'all' | 'gateway' | 'media';

/** The command that deploys a machine in its role. */
export const COMMANDS: Readonly<Record<Role, string>> = { all: 'deploy', gateway: 'deploy-caddy-service-only', media: 'deploy-livekit-only' };

/** The parts of each role, in start order. What is started later ends earlier, as when a machine is shut down: the agent tells the others how LiveKit ended. */
const PARTS: Readonly<Record<Role, readonly Part[]>> = {
  all: ['firewall', 'redis', 'sentinel', 'agent', 'livekit', 'service', 'caddy', 'sockets', 'upgrades', 'backups'],
  gateway: ['firewall', 'sentinel', 'service', 'agent', 'caddy', 'sockets', 'backups'],
  media: ['firewall', 'redis', 'sentinel', 'agent', 'livekit', 'sockets', 'upgrades', 'backups'],
};

/** The order in which running parts are restarted: as they are started, but LiveKit before its agent, which tells the others of that. */
export function inRestartOrder(parts: readonly Part[]): Part[] {
  const isBoth = parts.includes('agent') && parts.includes('livekit');
  const pair: readonly Part[] = ['livekit', 'agent'];
  return isBoth ? parts.filter((part) => part !== 'livekit').flatMap((part) => (part === 'agent' ? pair : [part])) : [...parts];
}

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

/** An operator's PEM file, which often only root may read, and the copy of it that Caddy reads as the service user. */
export interface PemCopy {
  /** The variable that names it. */
  readonly variable: keyof typeof PEM_NAMES;
  readonly source: string;
  readonly copy: string;
}

/** How Caddy gets its certificate. */
export type Tls =
  | { kind: 'acme'; email: string; /** Directory URL; empty for Let's Encrypt. */ directory: string; root: PemCopy | null }
  | { kind: 'internal' }
  | { kind: 'files'; certificate: PemCopy; key: PemCopy };

/** TURN over TLS, which LiveKit serves itself. */
export interface Turn {
  readonly domain: string;
  readonly port: number;
  readonly certificate: PemCopy;
  readonly key: PemCopy;
}

/** Names of the copies in the configuration folder. */
const PEM_NAMES = {
  TLS_CERT_FILE: 'tls-certificate.pem',
  TLS_KEY_FILE: 'tls-key.pem',
  ACME_ROOT_FILE: 'acme-root.pem',
  TURN_CERT_FILE: 'turn-certificate.pem',
  TURN_KEY_FILE: 'turn-key.pem',
} as const;

/** Copies that former settings may have left and these do not ask for; a key should not lie about. */
export function strayPems(topology: Topology): string[] {
  const { tls, turn, parts, layout } = topology;
  const wanted = [...(parts.includes('caddy') ? pemCopies(tls) : []), ...turnPems(turn)].map((one) => one.copy);
  return Object.values(PEM_NAMES)
    .map((name) => `${layout.config}/${name}`)
    .filter((path) => !wanted.includes(path));
}

/** The operator's files that Caddy needs. */
export function pemCopies(tls: Tls): PemCopy[] {
  switch (tls.kind) {
    case 'files':
      return [tls.certificate, tls.key];
    case 'acme':
      return tls.root === null ? [] : [tls.root];
    case 'internal':
      return [];
  }
}

/** The operator's files that LiveKit needs. */
export function turnPems(turn: Turn | null): PemCopy[] {
  return turn === null ? [] : [turn.certificate, turn.key];
}

/** An address of the Internet that leads to this machine, and who said so. */
export interface PublicAddress {
  readonly address: string;
  readonly source: string;
}

/** Where the last public address that was found is remembered. */
export function publicAddressFile(layout: Layout): string {
  return `${layout.config}/public-address.json`;
}

/** What runs on this machine and where; everything that rendering needs besides secrets and binaries. */
export interface Topology {
  readonly role: Role;
  /** Name of this machine in node paths (`/n/<machine>`) and in the registry. */
  readonly machine: string;
  /** Private address that other machines use; 127.0.0.1 where all is on one machine. */
  readonly address: string;
  /** Where the fleet's Redis and Sentinels may be found, the first primary first. Empty on a gateway that knows of no media machine yet. */
  readonly redisHosts: readonly string[];
  /** True where LiveKit, Redis and Sentinel run here. */
  readonly hasMedia: boolean;
  /** Address announced for media, as far as settings and interfaces tell. */
  readonly mediaAddress: string;
  /** True where the public address has to be asked for: it is on no interface. */
  readonly asksPublicAddress: boolean;
  /** What was answered. */
  readonly publicAddress: PublicAddress | null;
  /** Addresses that this machine's inner listeners bind: loopback, and the private address where there is one. */
  readonly bindAddresses: readonly string[];
  /** `host:port` of the business service: ours, or the operator's own. */
  readonly serviceUpstream: string;
  /** Where our business service listens, beside loopback. */
  readonly serviceBind: string;
  readonly isLoopbackOnly: boolean;
  /** What is done about the packet filter. `needless`: nothing of ours listens beyond this machine. */
  readonly firewall: 'apply' | 'print' | 'off' | 'needless' | 'no-nft';
  /** What keeps the parts alive: systemd's units, or runit where systemd is not PID 1. */
  readonly supervisor: 'systemd' | 'processes';
  readonly parts: readonly Part[];
  readonly layout: Layout;
  readonly tls: Tls;
  /** Null where TURN is offered over UDP alone. */
  readonly turn: Turn | null;
  /** Public base address of HTTP, such as `https://localhost:8443`. */
  readonly publicUrl: string;
  /** Base address of plain http where it is served beside https (browsers treat localhost as secure), else null. */
  readonly plainUrl: string | null;
}

/** The folders of the installation that the settings name. */
export function layoutOf(settings: Settings): Layout {
  const root = settings.DATA_DIR.replace(/\/+$/, '');
  return { root, config: `${root}/config`, state: `${root}/state`, logs: `${root}/logs`, run: `${root}/run`, app: `${root}/app`, lock: `${root}/lock` };
}

/** Where it stands that the service user was made here. */
export function madeUserFile(layout: Layout): string {
  return `${layout.state}/made-user`;
}

/** What was done on this machine, a line of JSON each. */
export function journalFile(layout: Layout): string {
  return `${layout.logs}/journal.jsonl`;
}

/** Where it stands which version of LiveKit a person has chosen. */
export function livekitVersionFile(layout: Layout): string {
  return `${layout.config}/livekit-version.json`;
}

/** Where it stands what this machine was deployed as. */
export function roleFile(layout: Layout): string {
  return `${layout.config}/role.json`;
}

/** What has to be known about the machine itself. */
export interface MachineFacts {
  /** Its own IPv4 addresses, the preferred first, without loopback. */
  readonly addresses: readonly string[];
  /** True where systemd is PID 1. */
  readonly hasSystemd: boolean;
  /** True where nftables' program is installed. */
  readonly hasNft: boolean;
}

/** Works out what this machine runs in its role. @throws FleetError ADDRESS_NOT_IN_NODES, ALONE_WITH_REDIS_HOST */
export function planTopology(settings: Settings, role: Role, { addresses, hasSystemd, hasNft }: MachineFacts): Topology {
  const own = settings.NODES.find((node) => addresses.includes(node));
  const isListed = settings.NODES[0] !== 'localhost';
  if (role !== 'gateway' && isListed && own === undefined)
    throw new FleetError('ADDRESS_NOT_IN_NODES', { nodes: settings.NODES.join(','), addresses: addresses.join(', ') }, { exitCode: 2 });
  // Nobody would find it there, and what follows another machine is no single one.
  if (role === 'all' && own === undefined && !['localhost', '127.0.0.1'].includes(settings.REDIS_HOST))
    throw new FleetError('ALONE_WITH_REDIS_HOST', { host: settings.REDIS_HOST }, { exitCode: 2 });
  const address = own ?? (role === 'all' ? '127.0.0.1' : (addresses[0] ?? '127.0.0.1'));
  const isLoopbackOnly = role === 'all' && settings.DOMAIN === 'localhost' && own === undefined;
  const inner = own ?? addresses[0] ?? '127.0.0.1';
  const layout = layoutOf(settings);
  const suffix = settings.HTTPS_PORT === 443 ? '' : `:${settings.HTTPS_PORT}`;
  const firewall = address === '127.0.0.1' ? 'needless' : settings.FIREWALL === 'apply' && !hasNft ? 'no-nft' : settings.FIREWALL;
  // With listed nodes, localhost is the first of them: one .env may serve them all.
  const alone = role === 'gateway' ? [] : [address];
  const named = settings.REDIS_HOST === 'localhost' ? [] : [settings.REDIS_HOST];
  const redisHosts = [...new Set([...named, ...(isListed ? settings.NODES : named.length > 0 ? [] : alone)])];
  // A gateway's Sentinel votes in the fleet, and has its password: until a media machine has joined there is neither.
  const isWaiting = redisHosts.length === 0 || isPlaceholder(settings.LIVEKIT_API_SECRET);
  const absent = new Set<Part>([
    ...(settings.BUSINESS_UPSTREAM === '' ? [] : ['service' as const]),
    ...(role === 'gateway' && isWaiting ? ['sentinel' as const] : []),
    ...(firewall === 'apply' ? [] : ['firewall' as const]),
    // There is no other machine whose power could go, or that could order anything.
    ...(settings.BACKUP_INTERVAL === 0 ? ['backups' as const] : []),
    ...(firewall === 'needless' ? ['sockets' as const, 'upgrades' as const] : []),
  ]);
  return {
    role,
    hasMedia: role !== 'gateway',
    redisHosts,
    machine: `m${address.replaceAll('.', '-')}`,
    address,
    mediaAddress: chooseMediaAddress(settings, { inner, addresses, isLoopbackOnly }),
    asksPublicAddress: role !== 'gateway' && !isLoopbackOnly && settings.NODE_PUBLIC_IP === 'auto' && !addresses.some(isPublic),
    publicAddress: null,
    bindAddresses: [...new Set(['127.0.0.1', address])],
    serviceUpstream: settings.BUSINESS_UPSTREAM === '' ? `127.0.0.1:${settings.SERVICE_PORT}` : settings.BUSINESS_UPSTREAM,
    serviceBind: settings.SERVICE_BIND !== 'auto' ? settings.SERVICE_BIND : isLoopbackOnly ? '127.0.0.1' : '0.0.0.0',
    isLoopbackOnly,
    firewall,
    supervisor: settings.SUPERVISOR === 'auto' ? (hasSystemd ? 'systemd' : 'processes') : settings.SUPERVISOR,
    parts: PARTS[role].filter((part) => !absent.has(part)),
    layout,
    tls: chooseTls(settings, layout.config),
    turn: chooseTurn(settings, role, layout),
    publicUrl: `https://${settings.DOMAIN}${suffix}`,
    plainUrl: role !== 'media' && settings.DOMAIN === 'localhost' ? `http://localhost${settings.HTTP_PORT === 80 ? '' : `:${settings.HTTP_PORT}`}` : null,
  };
}

function chooseMediaAddress(
  { NODE_PUBLIC_IP: wanted }: Settings,
  { inner, addresses, isLoopbackOnly }: { inner: string; addresses: readonly string[]; isLoopbackOnly: boolean },
): string {
  if (wanted !== 'auto' && wanted !== 'none') return wanted;
  if (isLoopbackOnly) return '127.0.0.1';
  return (wanted === 'auto' ? addresses.find(isPublic) : undefined) ?? inner;
}

/** @throws FleetError TURN_PORT_IS_CADDYS */
function chooseTurn(settings: Settings, role: Role, { config }: Layout): Turn | null {
  const { TURN_DOMAIN: domain, TURN_TLS_PORT: port } = settings;
  if (domain === '' || role === 'gateway') return null;
  if (role === 'all' && (port === settings.HTTPS_PORT || port === settings.HTTP_PORT)) throw new FleetError('TURN_PORT_IS_CADDYS', { port }, { exitCode: 2 });
  return { domain, port, certificate: copyOf(settings, 'TURN_CERT_FILE', config), key: copyOf(settings, 'TURN_KEY_FILE', config) };
}

function copyOf(settings: Settings, variable: PemCopy['variable'], config: string): PemCopy {
  return { variable, source: settings[variable], copy: `${config}/${PEM_NAMES[variable]}` };
}

function chooseTls(settings: Settings, config: string): Tls {
  const copied = (variable: PemCopy['variable']): PemCopy => copyOf(settings, variable, config);
  if (settings.TLS_MODE === 'files') return { kind: 'files', certificate: copied('TLS_CERT_FILE'), key: copied('TLS_KEY_FILE') };
  if (settings.TLS_MODE === 'internal' || (settings.TLS_MODE === 'auto' && !hasAuthority(settings))) return { kind: 'internal' };
  const root = settings.ACME_ROOT_FILE === '' ? null : copied('ACME_ROOT_FILE');
  return { kind: 'acme', email: settings.ACME_EMAIL, directory: settings.ACME_CA, root };
}

/** True where an ACME authority may certify the name: a public one for public names, the operator's own for all but localhost. */
function hasAuthority({ DOMAIN: domain, ACME_CA: directory }: Settings): boolean {
  const isPrivate = isIpv4(domain) || !domain.includes('.') || /\.(local|lan|internal|home\.arpa|test|localhost)$/.test(domain);
  return domain !== 'localhost' && (directory !== '' || !isPrivate);
}
