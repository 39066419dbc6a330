import { variableNames } from './schema.ts';
import type { Settings, VariableName } from './schema.ts';

/** Two variables that want the same port. */
export interface PortClash {
  readonly variable: VariableName;
  readonly other: VariableName;
  readonly port: number;
}

/**
 * Every pair of listeners of one machine that would take the same port. Single ports must all differ; the media range is
 * UDP, where Caddy (HTTP/3 on HTTPS_PORT), TURN and the agent listen as well. SERVICE_PORT counts only where our own service runs;
 * where it does not, the operator's service must not stand on a port of ours.
 */
export function findClashes(settings: Partial<Settings>): PortClash[] {
  const clashes: PortClash[] = [];
  const taken = new Map<number, VariableName>();
  const upstream = settings.BUSINESS_UPSTREAM ?? '';
  for (const variable of variableNames) {
    const port = settings[variable];
    if (!variable.endsWith('_PORT') || typeof port !== 'number' || (variable === 'SERVICE_PORT' && upstream !== '')) continue;
    const other = taken.get(port);
    // On a media machine there is no Caddy; where both are, planTopology refuses it.
    if (variable === 'TURN_TLS_PORT' && (other === 'HTTP_PORT' || other === 'HTTPS_PORT')) continue;
    if (other === undefined) taken.set(port, variable);
    else clashes.push({ variable, other, port });
  }
  const range = settings.LIVEKIT_UDP_PORTS;
  for (const variable of ['HTTPS_PORT', 'TURN_UDP_PORT', 'AGENT_PORT'] as const) {
    const port = settings[variable];
    if (range !== undefined && port !== undefined && port >= range.first && port <= range.last) clashes.push({ variable, other: 'LIVEKIT_UDP_PORTS', port });
  }
  const [host = '', port = ''] = upstream.split(':');
  const own = taken.get(Number(port));
  if (/^(localhost|127\..*)$/.test(host) && own !== undefined) clashes.push({ variable: 'BUSINESS_UPSTREAM', other: own, port: Number(port) });
  return clashes;
}
