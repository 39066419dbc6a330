import type { FastifyInstance } from 'fastify';

/** What a browser may do with an answer of an API: nothing but hand it to the page that asked. */
export const SECURITY_HEADERS: Readonly<Record<string, string>> = {
  'x-content-type-options': 'nosniff',
  'content-security-policy': "default-src 'none'; frame-ancestors 'none'",
  'referrer-policy': 'no-referrer',
  'cache-control': 'no-store',
};
/** How long browsers remember what another origin may ask; Chromium's own limit. */
const PREFLIGHT_SECONDS = '7200';

/** Headers for browsers, and the request's id, on every answer; a route's own win. */
export function addSecurityHeaders(app: FastifyInstance): void {
  app.addHook('onRequest', (request, reply, done) => {
    reply.headers(SECURITY_HEADERS).header('x-request-id', request.id);
    done();
  });
}

/**
 * Lets pages of these origins ask (https://fetch.spec.whatwg.org/#http-cors-protocol); `*`: of all. Without credentials: the API knows no cookies.
 * Nothing is added where there are none.
 */
export function allowOrigins(app: FastifyInstance, origins: readonly string[]): void {
  if (origins.length === 0) return;
  const allowed = new Set(origins);
  app.addHook('onRequest', (request, reply, done) => {
    const { origin } = request.headers;
    reply.header('vary', 'origin');
    if (origin === undefined || !(allowed.has('*') || allowed.has(origin))) return done();
    reply.headers({ 'access-control-allow-origin': origin, 'access-control-expose-headers': 'x-request-id, retry-after' });
    if (request.method !== 'OPTIONS' || request.headers['access-control-request-method'] === undefined) return done();
    void reply
      .code(204)
      .headers({
        'access-control-allow-methods': 'GET, POST, PUT, PATCH, DELETE',
        'access-control-allow-headers': 'authorization, content-type, accept-language, idempotency-key, x-request-id',
        'access-control-max-age': PREFLIGHT_SECONDS,
      })
      .send();
  });
}

/** A request's own id, where it may stand in a log line and a header as it is. */
export function wellFormedId(header: string | string[] | undefined): string | undefined {
  return typeof header === 'string' && /^[\w.:-]{8,128}$/.test(header) ? header : undefined;
}

/** True for a caller on this machine: Caddy, whose word on its own callers counts. */
export function isBeside(address: string | undefined): boolean {
  return address === '127.0.0.1' || address === '::1' || address === '::ffff:127.0.0.1';
}

/** Whose address it is, as far as it tells: an IPv6 host has a network of 2^64 addresses (RFC 4291, 2.5.4) and may come from each of them. */
export function networkOf(address: string): string {
  if (!address.includes(':') || address.includes('.')) return address.slice(address.lastIndexOf(':') + 1);
  const [head = '', tail] = address.replace(/%.*$/, '').split('::');
  const [first, last] = [head, tail ?? ''].map((part) => (part === '' ? [] : part.split(':')));
  const zeros = tail === undefined ? [] : Array.from({ length: 8 - (first?.length ?? 0) - (last?.length ?? 0) }, () => '0');
  return [...(first ?? []), ...zeros, ...(last ?? [])].slice(0, 4).join(':');
}
