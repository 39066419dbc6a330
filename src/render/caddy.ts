import type { Settings } from '../settings/schema.ts';
import type { Tls, Topology } from '../topology/topology.ts';
import { MAX_WEBHOOK_BYTES } from '../contract/limits.ts';
import { MACHINE_HEADER, SIGNALLING_PATH, TOKEN_HEADER, UPSTREAM_HEADER } from '../contract/signalling.ts';
import { upstreamFiles } from '../contract/upstream-files.ts';
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

/** What Caddy is given. */
export function caddyFile({ layout }: Topology): string {
  return `${layout.config}/caddy.json`;
}

/** Root certificate of Caddy's internal CA. */
export function internalCaFile(topology: Topology): string {
  return `${topology.layout.state}/caddy/pki/authorities/local/root.crt`;
}

/**
 * Caddy's JSON, which no change of the fleet touches: which machines serve it reads from the agent's files at each request, and where a
 * room's signalling goes it asks the agent.
 */
export function renderCaddy(settings: Settings, topology: Topology): RenderedFile {
  const domain = settings.DOMAIN;
  const hasPlainHttp = topology.plainUrl !== null;
  // Caddy's own redirection leads to port 443, whatever it serves at itself.
  const hasOwnRedirect = !hasPlainHttp && settings.HTTPS_PORT !== 443;
  const isServiceOurs = settings.BUSINESS_UPSTREAM === '';
  const toAnyNode = anyNode(pathsOf(topology));
  const routes = [
    signallingRoute(settings.AGENT_PORT, topology),
    ...apiRoutes(topology.serviceUpstream, isServiceOurs),
    {
      match: [{ path_regexp: { pattern: CLIENT_PATHS } }, { path: ['/twirp/*', '/agent'] }],
      handle: [bodyUpTo(MEDIA_BODY_BYTES), WITHOUT_MACHINE, toAnyNode],
    },
    { handle: [{ handler: 'static_response', status_code: 404, body: 'livekit-fleet: /api (rooms), /rtc (LiveKit)\n' }] },
  ];
  const hosts = hasPlainHttp ? ['localhost', '127.0.0.1'] : [domain];
  // Caddy serves its HTTP port without TLS also on a server that has TLS on the others. Localhost is for this machine alone:
  // anyone could send its name as the Host.
  const listen = hasPlainHttp ? [`127.0.0.1:${settings.HTTPS_PORT}`, `127.0.0.1:${settings.HTTP_PORT}`] : [`:${settings.HTTPS_PORT}`];
  const servers = {
    public: {
      listen,
      ...TIMEOUTS,
      // What an operator's own service takes may well come for longer.
      ...(isServiceOurs ? READ_TIMEOUTS : {}),
      max_header_bytes: MAX_HEADER_BYTES,
      routes: [{ match: [{ host: hosts }], handle: [{ handler: 'subroute', routes }], terminal: true }],
      tls_connection_policies: [{ default_sni: domain }],
      // With the operator's own files no certificate is ever asked of a public authority, whatever names they hold.
      automatic_https: { disable_redirects: hasPlainHttp || hasOwnRedirect, disable_certificates: topology.tls.kind === 'files' },
    },
    ...(hasOwnRedirect ? { redirect: redirectServer(settings) } : {}),
    internal: {
      listen: [`127.0.0.1:${settings.GATEWAY_INTERNAL_PORT}`],
      automatic_https: { disable: true },
      routes: [{ handle: [toAnyNode] }],
    },
  };
  const config = {
    // Nothing changes while it runs.
    admin: { disabled: true },
    logging: { logs: { default: { level: settings.LOG_LEVEL.toUpperCase(), encoder: LOG_ENCODER } } },
    storage: { module: 'file_system', root: `${topology.layout.state}/caddy` },
    apps: {
      http: { http_port: settings.HTTP_PORT, https_port: settings.HTTPS_PORT, servers },
      pki: { certificate_authorities: { local: { install_trust: false } } },
      tls: tlsApp(topology, hosts),
    },
  };
  return ourFile(caddyFile(topology), json(config));
}

/** On a machine that is the whole fleet Caddy leads to its LiveKit from the first moment, before the agent is up. */
export function renderFirstUpstream({ LIVEKIT_HTTP_PORT }: Settings, topology: Topology): RenderedFile[] {
  if (!topology.hasMedia) return [];
  const content = `${topology.address}:${LIVEKIT_HTTP_PORT}`;
  return pathsOf(topology).map((path) => ({ path, content, mode: 0o640, owner: 'service', ownership: { kind: 'theirs' } }));
}

function pathsOf({ layout, hasMedia }: Topology): string[] {
  return upstreamFiles(`${layout.state}/agent`, hasMedia);
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

/** What clients ask of LiveKit, also below the path of a machine: signalling with its validation, and WHIP. Its server API and agents' socket are not theirs. */
const CLIENT_PATHS = '^(?:/n/([^/]+))?/(?:rtc|whip)(?:/|$)';
const WITHOUT_MACHINE = { handler: 'rewrite', path_regexp: [{ find: '^/n/[^/]+', replace: '' }] };

/**
 * Leads a client's signalling to the room's own node, wherever its path leads: through another node it would hang on Redis, and hear only
 * seconds later of the loss of its own. The agent says where. It is waited for while it is slow, or starts anew, twice as long as that takes:
 * some two seconds, three at most, of the five that the Rust SDKs give their signalling. After that any serving machine will do.
 */
function signallingRoute(agentPort: number, { hasMedia }: Topology): unknown {
  const asked = { handler: 'vars', is_led: 'yes' };
  const upstream = { handler: 'vars', upstream: `{http.reverse_proxy.header.${UPSTREAM_HEADER}}` };
  const ask = {
    handler: 'reverse_proxy',
    upstreams: [{ dial: `127.0.0.1:${agentPort}` }],
    transport: { protocol: 'http', dial_timeout: '200ms', response_header_timeout: '1s' },
    // On a machine that is the whole fleet any machine is the right one.
    ...(hasMedia ? {} : { load_balancing: { try_duration: '2s', try_interval: '200ms' } }),
    // Without the query, which holds the token once more and the client's offer.
    rewrite: { method: 'GET', uri: `${SIGNALLING_PATH}?` },
    headers: {
      request: {
        delete: ['*'],
        set: {
          [TOKEN_HEADER]: ['{http.request.uri.query.access_token}'],
          [MACHINE_HEADER]: ['{http.regexp.client.1}'],
          Authorization: ['{http.request.header.Authorization}'],
        },
      },
    },
    handle_response: [
      { match: { status_code: [503] }, routes: [{ handle: [UNAVAILABLE] }] },
      { match: { headers: { [UPSTREAM_HEADER]: ['*'] } }, routes: [{ handle: [asked, upstream] }] },
      { routes: [{ handle: [asked] }] },
    ],
  };
  const lead = [bodyUpTo(MEDIA_BODY_BYTES), WITHOUT_MACHINE, { ...MEDIA_PROXY, upstreams: [{ dial: '{http.vars.upstream}' }] }];
  // What fails later is not the agent's failure, and is not tried again here.
  const failedLater = { handler: 'error', error: '{http.error.message}', status_code: '{http.error.status_code}' };
  return {
    match: [{ path_regexp: { name: 'client', pattern: CLIENT_PATHS } }],
    handle: [
      {
        handler: 'subroute',
        routes: [{ handle: [ask] }, { match: [{ vars_regexp: { upstream: { pattern: '.' } } }], handle: lead, terminal: true }],
        errors: { routes: [{ match: [{ vars: { is_led: ['yes'] } }], handle: [failedLater], terminal: true }] },
      },
    ],
  };
}

/** Leads to one of the machines that serve, and asks another one where that does not answer. */
function anyNode(paths: readonly string[]): unknown {
  const dials = paths.map((path) => `{file.${path}}`);
  const proxy = { ...MEDIA_PROXY, upstreams: dials.map((dial) => ({ dial })), load_balancing: { retries: 1, try_duration: '2s', try_interval: '50ms' } };
  return { handler: 'subroute', routes: [{ match: [{ vars: { [dials[0] ?? '']: [''] } }], handle: [UNAVAILABLE] }, { handle: [proxy] }] };
}

/** What every way to LiveKit shares. */
const MEDIA_PROXY = {
  handler: 'reverse_proxy',
  flush_interval: -1,
  // LiveKit takes the client's address from this header, so a client must not be able to send it.
  headers: { request: { delete: ['CF-Connecting-IP'] } },
  // A machine that lost its power does not refuse, and who is tried next is asked before the time for it is over.
  transport: { protocol: 'http', dial_timeout: '1s' },
};

/** Answers that a client should ask again soon; a browser shows a cross-origin client an answer only with this header, which LiveKit sends otherwise. */
const UNAVAILABLE = { handler: 'static_response', status_code: 503, headers: { 'Access-Control-Allow-Origin': ['*'], 'Retry-After': ['1'] } };

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
