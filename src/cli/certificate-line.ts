import type { Served } from '../health/certificate.ts';
import { translate } from '../kernel/messages/translate.ts';
import { day } from '../settings/certificate.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** True for a certificate that has not ended. */
export function isInForce(served: Served): boolean {
  return served.validTo !== null && served.validTo.getTime() > Date.now();
}

/** A line about the certificate that Caddy serves, or why there is none yet. */
export function describeCertificate({ language }: CliContext, served: Served, { settings, topology }: { settings: Settings; topology: Topology }): string {
  const { DOMAIN: domain, HTTP_PORT: port } = settings;
  const mark = isInForce(served) ? '✓' : '✗';
  if (served.validTo !== null) return `${mark} ${translate(language, 'CERTIFICATE_SERVED', { domain, until: day(served.validTo), issuer: served.issuer })}`;
  if (topology.tls.kind !== 'acme') return `${mark} ${translate(language, 'CERTIFICATE_MISSING', { domain })}`;
  return `${mark} ${translate(language, 'CERTIFICATE_PENDING', { domain, port, reason: served.reason ?? translate(language, 'NO_REASON_YET') })}`;
}
