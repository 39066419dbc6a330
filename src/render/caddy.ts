import type { Settings } from '../settings/schema.ts';
import type { Tls, Topology } from '../topology/topology.ts';
import { gatewayRoutes } from '../contract/gateway-routes.ts';
import type { GatewayRoutes } from '../contract/gateway-routes.ts';
import { json, ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** Path of Caddy's admin socket; only root and the service user may open it. */
export function caddyAdminSocket(topology: Topology): string {
  return `${topology.layout.state}/caddy/admin.sock`;
}

/**
 * Caddy's JSON. The arrays below `@id` media, media-internal and node-paths are the agent's, which keeps them equal to the
 * registry through the admin API; here they hold this machine's own LiveKit, so that a Caddy that (re)starts serves at once. `stream_close_delay` keeps WebSockets open across such changes.
 */
export function renderCaddy(settings: Settings, topology: Topology): RenderedFile {
  const domain = settings.DOMAIN;
  const { upstreams, nodePaths } = ownRoutes(settings, topology);
  const hasPlainHttp = topology.plainUrl !== null;
  const routes: unknown[] = [
    { match: [{ path: ['/n/*'] }], handle: [{ '@id': 'node-paths', handler: 'subroute', routes: nodePaths }] },
    { match: [{ path: ['/api', '/api/*'] }], handle: [{ handler: 'reverse_proxy', upstreams: [{ dial: topology.serviceUpstream }] }] },
    { match: [{ path: ['/rtc', '/rtc/*', '/twirp/*', '/agent', '/whip/*'] }], handle: [mediaProxy('media', upstreams)] },
    { handle: [{ handler: 'static_response', status_code: 404, body: 'livekit-fleet: /api (rooms), /rtc (LiveKit)\n' }] },
  ];
  const hosts = hasPlainHttp ? ['localhost', '127.0.0.1'] : [domain];
  // Caddy serves its HTTP port without TLS also on a server that has TLS on the others. Localhost is for this machine alone:
  // anyone could send its name as the Host.
  const listen = hasPlainHttp ? [`127.0.0.1:${settings.HTTPS_PORT}`, `127.0.0.1:${settings.HTTP_PORT}`] : [`:${settings.HTTPS_PORT}`];
  const servers = {
    public: {
      listen,
      routes: [{ match: [{ host: hosts }], handle: [{ handler: 'subroute', routes }], terminal: true }],
      tls_connection_policies: [{ default_sni: domain }],
      // With the operator's own files no certificate is ever asked of a public authority, whatever names they hold.
      automatic_https: { disable_redirects: hasPlainHttp, disable_certificates: topology.tls.kind === 'files' },
    },
    internal: {
      listen: [`127.0.0.1:${settings.GATEWAY_INTERNAL_PORT}`],
      automatic_https: { disable: true },
      routes: [{ handle: [mediaProxy('media-internal', upstreams)] }],
    },
  };
  return ourFile(
    `${topology.layout.config}/caddy.json`,
    json({
      admin: { listen: `unix/${caddyAdminSocket(topology)}|0660` },
      // The agent asks every second: its requests would drown everything else.
      logging: { logs: { default: { level: settings.LOG_LEVEL.toUpperCase(), exclude: ['admin.api'] } } },
      storage: { module: 'file_system', root: `${topology.layout.state}/caddy` },
      apps: {
        http: { http_port: settings.HTTP_PORT, https_port: settings.HTTPS_PORT, servers },
        pki: { certificate_authorities: { local: { install_trust: false } } },
        tls: tlsApp(topology, hosts),
      },
    }),
  );
}

/** What the agent will ask for while this machine's LiveKit is the only one; nothing where there is none. */
function ownRoutes(settings: Settings, { machine, address, hasMedia }: Topology): GatewayRoutes {
  if (!hasMedia) return gatewayRoutes([], 0);
  const signalling = `${address}:${settings.LIVEKIT_HTTP_PORT}`;
  return gatewayRoutes([{ machine, signalling, nodeId: null, version: '', state: 'serving', keyFingerprint: '', updatedAtMs: 0 }], 0);
}

/** The proxy handler that every way to LiveKit shares. */
function mediaProxy(id: string, upstreams: readonly unknown[]): unknown {
  return {
    '@id': id,
    handler: 'reverse_proxy',
    upstreams,
    flush_interval: -1,
    stream_close_delay: '24h',
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
