import { existsSync } from 'node:fs';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { checkCertificate, day, readCertificate } from '../settings/certificate.ts';
import type { Settings } from '../settings/schema.ts';
import type { PemCopy, Tls, Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** One of the operator's files with its text; the text may be a private key and is for a protected file only. */
export type Pem = PemCopy & { readonly text: string };

const DAY_MS = 24 * 3600 * 1000;
/** Let's Encrypt and its clients renew with 30 days left: at 14 something has gone wrong and there is time to mend it. */
const SOON_DAYS = 14;

/**
 * Reads and checks the files that the operator named for TLS, as root, before anything is changed; says when a certificate ends soon.
 * @throws FleetError TLS_FILE_UNREADABLE and those of checkCertificate
 */
export async function readPems(context: CliContext, settings: Settings, { tls, turn, parts }: Topology): Promise<Pem[]> {
  const ofCaddy = parts.includes('caddy') ? await readCaddys(context, settings, tls) : [];
  const ofTurn = turn === null ? [] : await readPair(context, turn, { nameVariable: 'TURN_DOMAIN', domain: turn.domain });
  return [...ofCaddy, ...ofTurn];
}

async function readCaddys(context: CliContext, settings: Settings, tls: Tls): Promise<Pem[]> {
  switch (tls.kind) {
    case 'internal':
      return [];
    case 'acme': {
      if (tls.root === null) return [];
      const root = await read(context.host, tls.root);
      readCertificate(root);
      return [root];
    }
    case 'files':
      return readPair(context, tls, { nameVariable: 'DOMAIN', domain: settings.DOMAIN });
  }
}

async function readPair(
  { host, reporter }: CliContext,
  pair: { certificate: PemCopy; key: PemCopy },
  name: { nameVariable: string; domain: string },
): Promise<Pem[]> {
  const chain = await read(host, pair.certificate);
  const key = await read(host, pair.key);
  const now = Date.now();
  const end = checkCertificate(chain, key, { ...name, now });
  const days = Math.floor((end.getTime() - now) / DAY_MS);
  const { variable, source: path } = chain;
  if (days < SOON_DAYS) reporter.emit({ kind: 'note', code: 'TLS_EXPIRES_SOON', params: { variable, path, until: day(end), days } });
  return [chain, key];
}

async function read(host: Host, pem: PemCopy): Promise<Pem> {
  const unreadable = (reason: string, cause?: unknown): FleetError =>
    new FleetError('TLS_FILE_UNREADABLE', { variable: pem.variable, path: pem.source, reason }, { cause, exitCode: 2 });
  const found = await host.read(pem.source, { followLinks: true }).catch((error: unknown) => {
    const code = error instanceof Error && 'code' in error ? String(error.code) : '';
    throw ['EACCES', 'EPERM', 'EISDIR', 'ELOOP'].includes(code) ? unreadable(code, error) : error;
  });
  if (found === null) throw unreadable(existsSync(pem.source) ? 'EISDIR' : 'ENOENT');
  return { ...pem, text: found.content };
}
