import { createHash } from 'node:crypto';
import type { Settings } from '../settings/schema.ts';
import type { Tls, Topology } from '../topology/topology.ts';
import { gatewayRoutes, proxyTo, unavailable } from '../contract/gateway-routes.ts';
import type { GatewayRoutes } from '../contract/gateway-routes.ts';
import { MAX_WEBHOOK_BYTES } from '../contract/limits.ts';
import { SIGNALLING_PATH, TOKEN_HEADER, UPSTREAM_HEADER } from '../contract/signalling.ts';
import { json, ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** A client's header comes at once; a connection that it keeps for its next request may be idle for as long as browsers keep one. */
const TIMEOUTS = { read_header_timeout: '10s', idle_timeout: '2m' };
/**
 * For a whole request with its body. A WebSocket is not bound by it once it is open; LiveKit may take 18 s to open one.
 * Caddy's own limit between two reads is off, because up to 2.11.7 it lifts the other: there a request that stalls is kept for ever.
 */
const READ_TIMEOUTS = { read_timeout: '30s', read_idle_timeout: -1 };
/** LiveKit's clients send the access token, with up to 16 384 characters of metadata, and their first offer in the URL. */
const MAX_HEADER_BYTES = 256 * 1024;
/** The service's own limit. */
const API_BODY_BYTES = 64 * 1024;
/** LiveKit reads a call's body whole before it asks who calls. Offers and room metadata are some kilobytes. */
const MEDIA_BODY_BYTES = 1024 * 1024;

/** A machine that lost its power does not refuse. */
const LIVEKIT_TRANSPORT = { protocol: 'http', dial_timeout: '1s' };

const WITHOUT_QUERY = { filter: 'regexp', regexp: '\\?.*', value: '?[redacted]' };
/** LiveKit's clients send their token in the query; headers hold others, and those of an operator's own service we do not know. */
const LOG_ENCODER = {
  format: 'filter',
  wrap: { format: 'json' },
  fields: {
    'request>uri': WITHOUT_QUERY,
    'request>headers': { filter: 'delete' },
    // Where a line of level debug says what became of a request's address.
    uri: WITHOUT_QUERY,
  },
};

/** Path of Caddy's admin socket; only root and the service user may open it. */
export function caddyAdminSocket(topology: Topology): string {
  return `${topology.layout.state}/caddy/admin.sock`;
}

/** What Caddy is given. */
function caddyFile({ layout }: Topology): string {
  return `${layout.config}/caddy.json`;
}

/** What the agent keeps of the configuration that Caddy runs with. */
export function caddyMemoryFile({ layout }: Topology): string {
  return `${layout.state}/agent/caddy.json`;
}

/** The program that starts Caddy. */
export function caddyStarter({ layout }: Topology): string {
  return `${layout.app}/caddy.sh`;
}

/**
 * The program of the part (sh). A client of LiveKit tries only once to go on with its session: the paths to rooms are there from the
 * first moment, not only when the agent has filled them in. What it kept counts while it comes from the configuration that stands.
 */
const starterScript = `#!/bin/sh
# Written by livekit-fleet. Usage: caddy.sh CADDY CONFIG MEMORY
config=$2
[ -s "$3" ] && mark=$(sed -n 's/.*"@id": "\\(config-[0-9a-f]*\\)".*/\\1/p' "$2")
[ -n "$mark" ] && grep -qs "\\"$mark\\"" "$3" && config=$3
exec "$1" run --config "$config"
`;

/** The command line of the part; @param program Caddy's path */
export function caddyCommand(program: string, topology: Topology): string[] {
  return ['/bin/sh', caddyStarter(topology), program, caddyFile(topology), caddyMemoryFile(topology)];
}

/** The program that starts Caddy, as a file. */
export function renderCaddyStarter(topology: Topology): RenderedFile {
  return ourFile(caddyStarter(topology), starterScript);
}

/** Root certificate of Caddy's internal CA. */
export function internalCaFile(topology: Topology): string {
  return `${topology.layout.state}/caddy/pki/authorities/local/root.crt`;
}

/**
 * Caddy's JSON. The arrays below `@id` media, media-internal and node-paths are the agent's, which keeps them equal to the
 * registry through the admin API; here they hold this machine's own LiveKit, so that a Caddy that starts serves at once. `config-…` names
 * the rest, so that a starting Caddy may take what the agent has kept of this very configuration. `stream_close_delay` keeps WebSockets open across such changes.
 */
export function renderCaddy(settings: Settings, topology: Topology): RenderedFile {
  const domain = settings.DOMAIN;
  const { upstreams, nodePaths } = ownRoutes(settings, topology);
  const hasPlainHttp = topology.plainUrl !== null;
  // Caddy's own redirection leads to port 443, whatever it serves at itself.
  const hasOwnRedirect = !hasPlainHttp && settings.HTTPS_PORT !== 443;
  const isServiceOurs = settings.BUSINESS_UPSTREAM === '';
  const routes = (mark: string): unknown[] => [
    signallingRoute(settings.AGENT_PORT),
    { match: [{ path: ['/n/*'] }], handle: [bodyUpTo(MEDIA_BODY_BYTES), { '@id': 'node-paths', handler: 'subroute', routes: nodePaths }] },
    ...apiRoutes(topology.serviceUpstream, isServiceOurs),
    { match: [{ path: ['/rtc', '/rtc/*', '/twirp/*', '/agent', '/whip/*'] }], handle: [bodyUpTo(MEDIA_BODY_BYTES), mediaProxy('media', upstreams)] },
    { '@id': mark, handle: [{ handler: 'static_response', status_code: 404, body: 'livekit-fleet: /api (rooms), /rtc (LiveKit)\n' }] },
  ];
  const hosts = hasPlainHttp ? ['localhost', '127.0.0.1'] : [domain];
  // Caddy serves its HTTP port without TLS also on a server that has TLS on the others. Localhost is for this machine alone:
  // anyone could send its name as the Host.
  const listen = hasPlainHttp ? [`127.0.0.1:${settings.HTTPS_PORT}`, `127.0.0.1:${settings.HTTP_PORT}`] : [`:${settings.HTTPS_PORT}`];
  const servers = (mark: string): unknown => ({
    public: {
      listen,
      ...TIMEOUTS,
      // What an operator's own service takes may well come for longer.
      ...(isServiceOurs ? READ_TIMEOUTS : {}),
      max_header_bytes: MAX_HEADER_BYTES,
      routes: [{ match: [{ host: hosts }], handle: [{ handler: 'subroute', routes: routes(mark) }], terminal: true }],
      tls_connection_policies: [{ default_sni: domain }],
      // With the operator's own files no certificate is ever asked of a public authority, whatever names they hold.
      automatic_https: { disable_redirects: hasPlainHttp || hasOwnRedirect, disable_certificates: topology.tls.kind === 'files' },
    },
    ...(hasOwnRedirect ? { redirect: redirectServer(settings) } : {}),
    internal: {
      listen: [`127.0.0.1:${settings.GATEWAY_INTERNAL_PORT}`],
      automatic_https: { disable: true },
      routes: [{ handle: [mediaProxy('media-internal', upstreams)] }],
    },
  });
  const config = (mark: string): string =>
    json({
      admin: { listen: `unix/${caddyAdminSocket(topology)}|0660` },
      // The agent asks every second: its requests would drown everything else.
      logging: { logs: { default: { level: settings.LOG_LEVEL.toUpperCase(), exclude: ['admin.api'], encoder: LOG_ENCODER } } },
      storage: { module: 'file_system', root: `${topology.layout.state}/caddy` },
      apps: {
        http: { http_port: settings.HTTP_PORT, https_port: settings.HTTPS_PORT, servers: servers(mark) },
        pki: { certificate_authorities: { local: { install_trust: false } } },
        tls: tlsApp(topology, hosts),
      },
    });
  return ourFile(caddyFile(topology), config(`config-${createHash('sha256').update(config('')).digest('hex').slice(0, 16)}`));
}

/** To the same address at https. Challenges of an ACME authority are answered before. */
function redirectServer({ HTTP_PORT, HTTPS_PORT }: Settings): unknown {
  const headers = { Location: [`https://{http.request.host}:${HTTPS_PORT}{http.request.uri}`], Connection: ['close'] };
  return {
    listen: [`:${HTTP_PORT}`],
    ...TIMEOUTS,
    ...READ_TIMEOUTS,
    max_header_bytes: MAX_HEADER_BYTES,
    automatic_https: { disable: true },
    routes: [{ handle: [{ handler: 'static_response', status_code: 308, headers }] }],
  };
}

/** The business service; only of our own we know what it takes. */
function apiRoutes(dial: string, isOurs: boolean): unknown[] {
  const proxy = { handler: 'reverse_proxy', upstreams: [{ dial }] };
  const path = ['/api', '/api/*'];
  if (!isOurs) return [{ match: [{ path }], handle: [proxy] }];
  return [
    { match: [{ path: ['/api/webhook'] }], handle: [bodyUpTo(MAX_WEBHOOK_BYTES), proxy] },
    { match: [{ path }], handle: [bodyUpTo(API_BODY_BYTES), proxy] },
  ];
}

/** Answers 413 to more; a body that is not read costs nothing. */
function bodyUpTo(bytes: number): unknown {
  return { handler: 'request_body', max_size: bytes };
}

/** What the agent will ask for while this machine's LiveKit is the only one; nothing where there is none. */
function ownRoutes(settings: Settings, { machine, address, hasMedia }: Topology): GatewayRoutes {
  if (!hasMedia) return gatewayRoutes([], 0);
  const signalling = `${address}:${settings.LIVEKIT_HTTP_PORT}`;
  return gatewayRoutes([{ machine, signalling, nodeId: null, version: '', state: 'serving', keyFingerprint: '', updatedAtMs: 0 }], 0);
}

/**
 * Leads a client's signalling to the room's own node, wherever its path leads: through another node it would hang on Redis, and hear only
 * seconds later of the loss of its own. The agent says where; while it does not, the path decides, as for a room that has no node yet.
 */
function signallingRoute(agentPort: number): unknown {
  const asked = { handler: 'vars', is_led: 'yes' };
  const upstream = { handler: 'vars', room_upstream: `{http.reverse_proxy.header.${UPSTREAM_HEADER}}` };
  const ask = {
    handler: 'reverse_proxy',
    upstreams: [{ dial: `127.0.0.1:${agentPort}` }],
    transport: { protocol: 'http', dial_timeout: '200ms', response_header_timeout: '500ms' },
    // Without the query, which holds the token once more and the client's offer.
    rewrite: { method: 'GET', uri: `${SIGNALLING_PATH}?` },
    headers: {
      request: {
        delete: ['*'],
        set: { [TOKEN_HEADER]: ['{http.request.uri.query.access_token}'], Authorization: ['{http.request.header.Authorization}'] },
      },
    },
    handle_response: [
      { match: { status_code: [503] }, routes: [{ handle: [unavailable()] }] },
      { match: { headers: { [UPSTREAM_HEADER]: ['*'] } }, routes: [{ handle: [asked, upstream] }] },
      { routes: [{ handle: [asked] }] },
    ],
  };
  const lead = [
    bodyUpTo(MEDIA_BODY_BYTES),
    { handler: 'rewrite', path_regexp: [{ find: '^/n/[^/]+', replace: '' }] },
    { ...proxyTo([{ dial: '{http.vars.room_upstream}' }]), transport: LIVEKIT_TRANSPORT },
  ];
  // What fails later is not the agent's failure, and is not tried again here.
  const failedLater = { handler: 'error', error: '{http.error.message}', status_code: '{http.error.status_code}' };
  return {
    match: [{ path_regexp: { pattern: '^(/n/[^/]+)?/rtc(/|$)' } }],
    handle: [
      {
        handler: 'subroute',
        routes: [{ handle: [ask] }, { match: [{ vars_regexp: { room_upstream: { pattern: '.' } } }], handle: lead, terminal: true }],
        errors: { routes: [{ match: [{ vars: { is_led: ['yes'] } }], handle: [failedLater], terminal: true }] },
      },
    ],
  };
}

/** The proxy handler that every way to LiveKit shares. */
function mediaProxy(id: string, upstreams: readonly unknown[]): unknown {
  return {
    '@id': id,
    handler: 'reverse_proxy',
    upstreams,
    flush_interval: -1,
    stream_close_delay: '24h',
    // Who is tried next is asked before the time for it is over.
    transport: LIVEKIT_TRANSPORT,
    load_balancing: { retries: 1, try_duration: '2s', try_interval: '50ms' },
    headers: { request: { delete: ['CF-Connecting-IP'] } },
  };
}

function tlsApp(topology: Topology, hosts: readonly string[]): unknown {
  const { tls } = topology;
  switch (tls.kind) {
    case 'files':
      return { certificates: { load_files: [{ certificate: tls.certificate.copy, key: tls.key.copy }] } };
    case 'internal':
      return { automation: { policies: [{ subjects: hosts, issuers: [{ module: 'internal' }] }] } };
    case 'acme':
      return { automation: { policies: [{ subjects: hosts, issuers: [acmeIssuer(tls)] }] } };
  }
}

function acmeIssuer({ email, directory, root }: Extract<Tls, { kind: 'acme' }>): unknown {
  return {
    module: 'acme',
    ...(directory === '' ? {} : { ca: directory }),
    ...(email === '' ? {} : { email }),
    ...(root === null ? {} : { trusted_roots_pem_files: [root.copy] }),
  };
}
