import type { CauseCode } from '../kernel/messages/en.ts';
import { StepError } from './step.ts';

/** Node's names of network and OpenSSL errors, see https://nodejs.org/api/errors.html and https://nodejs.org/api/tls.html#x509-certificate-error-codes */
const CAUSES: ReadonlyMap<string, CauseCode> = new Map([
  ['ENOTFOUND', 'NAME_UNRESOLVED'],
  ['EAI_AGAIN', 'NAME_UNRESOLVED'],
  ['CERT_HAS_EXPIRED', 'TLS_EXPIRED'],
  ['CERT_NOT_YET_VALID', 'TLS_EXPIRED'],
  ['ERR_TLS_CERT_ALTNAME_INVALID', 'TLS_WRONG_NAME'],
  ['UNABLE_TO_GET_ISSUER_CERT', 'TLS_UNTRUSTED'],
  ['UNABLE_TO_GET_ISSUER_CERT_LOCALLY', 'TLS_UNTRUSTED'],
  ['UNABLE_TO_VERIFY_LEAF_SIGNATURE', 'TLS_UNTRUSTED'],
  ['SELF_SIGNED_CERT_IN_CHAIN', 'TLS_UNTRUSTED'],
  ['DEPTH_ZERO_SELF_SIGNED_CERT', 'TLS_UNTRUSTED'],
  ['CERT_UNTRUSTED', 'TLS_UNTRUSTED'],
  ['CERT_SIGNATURE_FAILURE', 'TLS_UNTRUSTED'],
]);

/**
 * `fetch` whose failures say why, with the answer's text. A request that finds its connection closed is sent once more: Caddy closes those
 * that wait for one when its routes change, maybe at that moment.
 * @throws StepError by the code of the socket's error; the signal's reason when that aborts
 */
export async function request(url: string, init: RequestInit & { signal: AbortSignal }): Promise<{ status: number; text: string }> {
  const send = async (): Promise<{ status: number; text: string }> => {
    const response = await fetch(url, init);
    return { status: response.status, text: await response.text() };
  };
  try {
    return await send().catch((error: unknown) => {
      if (init.signal.aborted || codeOf(error) !== 'UND_ERR_SOCKET') throw error;
      return send();
    });
  } catch (error) {
    if (init.signal.aborted) throw error;
    const code = codeOf(error);
    const { origin } = new URL(url);
    throw new StepError(causeOf(code), `${origin}: ${code ?? String(error)}`, { cause: error });
  }
}

function causeOf(code: string | null): CauseCode {
  if (code === null) return 'GATEWAY_UNREACHABLE';
  // What remains of OpenSSL's errors is a handshake that the other side breaks off: it has no certificate for the name.
  return CAUSES.get(code) ?? (code.startsWith('ERR_SSL_') ? 'TLS_NO_CERTIFICATE' : 'GATEWAY_UNREACHABLE');
}

/** `fetch` wraps the socket's error once; where a name has several addresses that one is an AggregateError with a code too. */
function codeOf(error: unknown): string | null {
  const inner = error instanceof Error ? error.cause : undefined;
  return inner instanceof Error && 'code' in inner && typeof inner.code === 'string' ? inner.code : null;
}
