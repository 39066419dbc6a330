import { createSecureContext, getCACertificates } from 'node:tls';
import type { SecureContext } from 'node:tls';
import type { HttpRequest } from '../../clients/http-request.ts';
import type { WebhookTargets } from '../../contract/webhook-targets.ts';

/** What there is to know of the gateway machine. */
export type Gateway = Pick<WebhookTargets, 'domain' | 'gatewayAddress' | 'caPem'>;

/** How to get to a URL: what `sendRequest` takes beside the URL itself. */
export type Way = Pick<HttpRequest, 'address' | 'secureContext'>;

/**
 * The ways to receivers. A URL of the gateway's domain leads to the gateway machine itself, in a network without DNS too, and
 * its own authority vouches for it; after a failure it is tried by its name, since something else may stand between.
 */
export function createWays(gateway: Gateway | null): (url: string, failures: number) => Way {
  let trusted: SecureContext | null = null;
  return (url, failures) => {
    if (gateway === null || new URL(url).hostname !== gateway.domain.toLowerCase()) return {};
    const { gatewayAddress: address, caPem } = gateway;
    if (caPem !== null) trusted ??= createSecureContext({ ca: [...getCACertificates('default'), ...getCACertificates('system'), caPem] });
    return { ...(address === null || failures % 2 === 1 ? {} : { address }), ...(trusted === null ? {} : { secureContext: trusted }) };
  };
}
