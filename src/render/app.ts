import { createHash } from 'node:crypto';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import { caddyAdminSocket } from './caddy.ts';
import { metricsUser } from './livekit.ts';
import { masterName } from './redis.ts';
import { json, ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** service.json, the business service's configuration. */
export function renderService(settings: Settings, topology: Topology): RenderedFile {
  return ourFile(
    `${topology.layout.config}/service.json`,
    json({
      bind: '127.0.0.1',
      port: settings.SERVICE_PORT,
      database: `${topology.layout.state}/service/service.db`,
      livekitApiUrl: `http://127.0.0.1:${settings.GATEWAY_INTERNAL_PORT}`,
      publicUrl: topology.publicUrl.replace(/^http/, 'ws'),
      plainUrl: topology.plainUrl?.replace(/^http/, 'ws') ?? null,
      nodeLookupUrl: `http://127.0.0.1:${settings.AGENT_PORT}`,
      livekitKeys: { [settings.LIVEKIT_API_KEY]: settings.LIVEKIT_API_SECRET },
      signingKey: settings.LIVEKIT_API_KEY,
      tokenSha256: [sha256(settings.SERVICE_API_TOKEN)],
      tokenTtlSeconds: settings.TOKEN_TTL,
      logLevel: settings.LOG_LEVEL,
    }),
  );
}

/** agent.json, the agent's configuration. */
export function renderAgent(settings: Settings, topology: Topology, livekitVersion: string): RenderedFile {
  return ourFile(
    `${topology.layout.config}/agent.json`,
    json({
      machine: topology.machine,
      fleet: masterName,
      bind: '127.0.0.1',
      port: settings.AGENT_PORT,
      stateDir: `${topology.layout.state}/agent`,
      logLevel: settings.LOG_LEVEL,
      redis: { sentinels: [{ host: '127.0.0.1', port: settings.SENTINEL_PORT }], masterName, password: settings.REDIS_PASSWORD, direct: null },
      media: {
        signallingUrl: `http://127.0.0.1:${settings.LIVEKIT_HTTP_PORT}`,
        advertiseAddress: `${topology.address}:${settings.LIVEKIT_HTTP_PORT}`,
        metricsUrl: `http://127.0.0.1:${settings.METRICS_PORT}/metrics`,
        metricsUsername: metricsUser,
        metricsPassword: settings.REDIS_PASSWORD,
        version: livekitVersion,
        keyFingerprint: sha256(`${settings.LIVEKIT_API_KEY}:${settings.LIVEKIT_API_SECRET}`).slice(0, 16),
      },
      gateway: { caddyAdminSocket: caddyAdminSocket(topology) },
      webhook: {
        enabled: settings.WEBHOOK_ENABLED,
        urls: settings.WEBHOOK_URLS.length > 0 ? settings.WEBHOOK_URLS : [`http://${topology.serviceUpstream}/api/webhook`],
        keys: { [settings.LIVEKIT_API_KEY]: settings.LIVEKIT_API_SECRET },
        signingKey: settings.LIVEKIT_API_KEY,
      },
    }),
  );
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
