import { X509Certificate, createPrivateKey } from 'node:crypto';
import type { KeyObject } from 'node:crypto';
import { FleetError } from '../kernel/errors.ts';
import { isIpv4 } from './variable.ts';

/** Where a PEM text was read, and which variable named the file. */
export interface PemText {
  readonly variable: string;
  readonly source: string;
  readonly text: string;
}

/** All are values of `.env` that cannot work. */
const settings = { exitCode: 2 };

/**
 * Reads the first certificate of a PEM text.
 * @throws FleetError TLS_NOT_A_CERTIFICATE
 */
export function readCertificate({ variable, source, text }: PemText): X509Certificate {
  try {
    return new X509Certificate(text);
  } catch (error) {
    throw new FleetError('TLS_NOT_A_CERTIFICATE', { variable, path: source }, { cause: error, ...settings });
  }
}

/**
 * Checks that a server can serve `domain`, which `nameVariable` names, with this chain and key at the time `now` (ms since 1970); gives when the certificate ends.
 * The name is looked for where browsers look: in the subject alternative names only (RFC 6125, 6.4.4).
 * @throws FleetError TLS_NOT_A_CERTIFICATE, TLS_NOT_A_KEY, TLS_OTHER_KEY, TLS_OUT_OF_DATE, TLS_OTHER_NAME; none of them shows the key
 */
export function checkCertificate(chain: PemText, key: PemText, { nameVariable, domain, now }: { nameVariable: string; domain: string; now: number }): Date {
  const certificate = readCertificate(chain);
  const { source: path, variable } = chain;
  if (!certificate.checkPrivateKey(readKey(key)))
    throw new FleetError('TLS_OTHER_KEY', { variable, path, keyVariable: key.variable, key: key.source }, settings);
  const [from, to] = [certificate.validFromDate, certificate.validToDate];
  if (now < from.getTime() || now > to.getTime()) {
    throw new FleetError('TLS_OUT_OF_DATE', { variable, path, from: day(from), to: day(to), now: day(new Date(now)) }, settings);
  }
  const isNamed = isIpv4(domain) ? certificate.checkIP(domain) : certificate.checkHost(domain, { subject: 'never' });
  if (isNamed === undefined)
    throw new FleetError('TLS_OTHER_NAME', { variable, path, nameVariable, domain, names: certificate.subjectAltName ?? '-' }, settings);
  return to;
}

/** A day as people write it in both languages: 2026-01-31 (UTC). */
export function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}

function readKey({ variable, source, text }: PemText): KeyObject {
  try {
    return createPrivateKey(text);
  } catch (error) {
    throw new FleetError('TLS_NOT_A_KEY', { variable, path: source }, { cause: error, ...settings });
  }
}
