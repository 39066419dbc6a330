import { createHash } from 'node:crypto';
import { isPlaceholder } from '../settings/parse.ts';
import type { Settings } from '../settings/schema.ts';
import { firewallFiles, membersFile } from '../topology/firewall-files.ts';
import { upgradeFiles } from '../topology/upgrade-files.ts';
import { socketFiles } from '../topology/socket-files.ts';
import { journalFile } from '../topology/topology.ts';
import type { Topology } from '../topology/topology.ts';
import { internalCaFile } from './caddy.ts';
import { metricsUser } from './livekit.ts';
import { masterName, sentinelTimes } from './redis.ts';
import { json, ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** service.json, the business service's configuration. Without keys it waits for the first media machine. */
export function renderService(settings: Settings, topology: Topology): RenderedFile {
  return ourFile(
    `${topology.layout.config}/service.json`,
    json({
      bind: topology.serviceBind,
      port: settings.SERVICE_PORT,
      database: settings.DATABASE_URL === '' ? `${topology.layout.state}/service/service.db` : settings.DATABASE_URL,
      livekitApiUrl: `http://127.0.0.1:${settings.GATEWAY_INTERNAL_PORT}`,
      publicUrl: topology.publicUrl.replace(/^http/, 'ws'),
      plainUrl: topology.plainUrl?.replace(/^http/, 'ws') ?? null,
      nodeLookupUrl: `http://127.0.0.1:${settings.AGENT_PORT}`,
      livekitKeys: livekitKeys(settings),
      signingKey: settings.LIVEKIT_API_KEY,
      tokenSha256: [sha256(settings.SERVICE_API_TOKEN)],
      tokenTtlSeconds: settings.TOKEN_TTL,
      historyDays: settings.HISTORY_DAYS,
      webhookHttp: settings.WEBHOOK_HTTP,
      endUsers: endUsers(settings),
      limits: { tokenPerSecond: settings.RATE_LIMIT_TOKEN, userPerSecond: settings.RATE_LIMIT_USER, addressPerSecond: settings.RATE_LIMIT_ADDRESS },
      corsOrigins: settings.CORS_ORIGINS,
      logLevel: settings.LOG_LEVEL,
    }),
  );
}

function endUsers({ AUTH_JWKS_URL: url, AUTH_JWKS_FILE: file, AUTH_ISSUER: issuer, AUTH_AUDIENCE: audience, AUTH_IDENTITY_CLAIM: claim }: Settings): unknown {
  return url === '' && file === '' ? null : { jwks: url || file, issuer, audience, claim };
}

/** agent.json, the agent's configuration. @param livekitVersion of this machine's LiveKit */
export function renderAgent(settings: Settings, topology: Topology, livekitVersion: string): RenderedFile {
  const { role, hasMedia } = topology;
  // On a media machine its own Sentinel knows the fleet, whatever happens to the others.
  const hosts = hasMedia ? ['127.0.0.1'] : topology.redisHosts;
  return ourFile(
    `${topology.layout.config}/agent.json`,
    json({
      machine: topology.machine,
      fleet: masterName,
      bind: '127.0.0.1',
      port: settings.AGENT_PORT,
      stateDir: `${topology.layout.state}/agent`,
      journal: journalFile(topology.layout),
      logLevel: settings.LOG_LEVEL,
      redis:
        hosts.length === 0
          ? null
          : { sentinels: hosts.map((host) => ({ host, port: settings.SENTINEL_PORT })), masterName, password: settings.REDIS_PASSWORD, direct: null },
      sentinel: topology.parts.includes('sentinel')
        ? { port: settings.SENTINEL_PORT, address: `${topology.address}:${settings.SENTINEL_PORT}`, ...sentinelTimes }
        : null,
      media: hasMedia ? renderMedia(settings, topology, livekitVersion) : null,
      socketsPipe: topology.parts.includes('sockets') ? socketFiles(topology.layout).pipe : null,
      upgrades: topology.parts.includes('upgrades') ? renderUpgrades(topology) : null,
      members: topology.firewall === 'needless' ? null : renderMembers(settings, topology),
      gateway: role === 'media' ? null : { webhooks: renderReceivers(settings, topology) },
      webhook: {
        enabled: settings.WEBHOOK_ENABLED && hasMedia,
        urls: settings.WEBHOOK_URLS.length > 0 ? settings.WEBHOOK_URLS : role === 'media' ? [] : [`http://${topology.serviceUpstream}/api/webhook`],
        keys: livekitKeys(settings),
        signingKey: settings.LIVEKIT_API_KEY,
      },
    }),
  );
}

function renderUpgrades({ layout }: Topology): unknown {
  const { pipe, result, log } = upgradeFiles(layout);
  return { pipe, result, log };
}

/** What other machines' agents are told of the receivers; where there are no others, nothing. */
function renderReceivers(settings: Settings, topology: Topology): unknown {
  if (topology.isLoopbackOnly) return null;
  const urls = settings.WEBHOOK_URLS.length > 0 ? settings.WEBHOOK_URLS : [`${topology.publicUrl}/api/webhook`];
  return {
    urls: settings.WEBHOOK_ENABLED ? urls : [],
    domain: settings.DOMAIN,
    caFile: topology.tls.kind === 'internal' ? internalCaFile(topology) : null,
  };
}

/** Whom the agent tells that this machine is there, and where it tells the firewall who else is. */
function renderMembers(settings: Settings, { address, redisHosts, parts, layout }: Topology): unknown {
  const peers = [...new Set([...redisHosts, ...settings.NODES])].filter((host) => host !== address && host !== 'localhost');
  const firewall = parts.includes('firewall') ? { membersFile: membersFile(layout), appliedFile: firewallFiles(layout).members } : null;
  return { own: address, peers, firewall };
}

function renderMedia(settings: Settings, topology: Topology, version: string): unknown {
  return {
    signallingUrl: `http://127.0.0.1:${settings.LIVEKIT_HTTP_PORT}`,
    advertiseAddress: `${topology.address}:${settings.LIVEKIT_HTTP_PORT}`,
    metricsUrl: `http://127.0.0.1:${settings.METRICS_PORT}/metrics`,
    metricsUsername: metricsUser,
    metricsPassword: settings.REDIS_PASSWORD,
    version,
    livekitConfig: `${topology.layout.config}/livekit.yaml`,
    keyFingerprint: keyFingerprint(settings),
  };
}

/** Tells two pairs of API key and secret apart without giving them away; all machines of a fleet have the same. */
export function keyFingerprint(settings: Settings): string {
  return sha256(`${settings.LIVEKIT_API_KEY}:${settings.LIVEKIT_API_SECRET}`).slice(0, 16);
}

function livekitKeys(settings: Settings): Record<string, string> {
  return isPlaceholder(settings.LIVEKIT_API_SECRET) ? {} : { [settings.LIVEKIT_API_KEY]: settings.LIVEKIT_API_SECRET };
}

function sha256(text: string): string {
  return createHash('sha256').update(text).digest('hex');
}
