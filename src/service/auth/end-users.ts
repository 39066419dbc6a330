import { hash } from 'node:crypto';
import { identitySchema } from '../../contract/rooms.ts';
import type { ServiceConfig } from '../config.ts';
import { HttpProblem } from '../problem.ts';
import type { Awaitable } from '../store/database.ts';
import { openKeySource } from './key-source.ts';
import type { EndUser } from './principal.ts';

/** Signatures by a private key alone: with `HS256` a public key would do as the secret (RFC 8725, 2.1). */
const ALGORITHMS = ['RS256', 'RS384', 'RS512', 'PS256', 'PS384', 'PS512', 'ES256', 'ES384', 'ES512', 'EdDSA', 'Ed25519'];
/** Clocks of identity providers differ by this much at most. */
const LEEWAY_S = 30;
/** A token that was checked is not checked again for so long: a signature takes a hundred times as long as all else. */
const TRUST_MS = 60_000;
const MAX_KNOWN = 10_000;

/** End users, who bring a JWT of the operator's identity provider. */
export interface EndUsers {
  /** Who was checked a moment ago. */
  known(token: string): EndUser | null;
  /** Whose token it is. @throws HttpProblem 401 UNAUTHORIZED, 503 AUTH_UNAVAILABLE */
  check(token: string): Promise<EndUser>;
}

type Settings = NonNullable<ServiceConfig['endUsers']>;

/** @param options.now milliseconds since the epoch */
export function createEndUsers({ settings, now }: { settings: Settings; now: () => number }): EndUsers {
  const source = openKeySource({ place: settings.jwks, now });
  /** By hash, in the order in which they were checked. */
  const checked = new Map<string, { user: EndUser; untilMs: number }>();

  const keep = (token: string, user: EndUser, expiresAtMs: number): void => {
    for (const [key, { untilMs }] of checked) {
      if (untilMs > now() && checked.size < MAX_KNOWN) break;
      checked.delete(key);
    }
    checked.set(hash('sha256', token, 'base64'), { user, untilMs: Math.min(now() + TRUST_MS, expiresAtMs) });
  };
  return {
    known(token) {
      const one = checked.get(hash('sha256', token, 'base64'));
      return one !== undefined && one.untilMs > now() ? one.user : null;
    },
    async check(token) {
      // Nothing of jose but these: encryption is most of it.
      const [{ jwtVerify }, { createLocalJWKSet }, { JWKSNoMatchingKey }] = await Promise.all([
        import('jose/jwt/verify'),
        import('jose/jwks/local'),
        import('jose/errors'),
      ]);
      const { issuer, audience, claim } = settings;
      const verify = async (keys: Awaitable<Awaited<ReturnType<typeof source.keys>>>) =>
        jwtVerify(token, createLocalJWKSet(await keys), {
          algorithms: ALGORITHMS,
          issuer,
          audience,
          clockTolerance: LEEWAY_S,
          requiredClaims: ['exp', claim],
          currentDate: new Date(now()),
        });
      const keys = await source.keys().catch(orUnavailable);
      try {
        const { payload } = await verify(keys).catch(async (error: unknown) => {
          // The provider signs with a key that was not there a while ago.
          if (!(error instanceof JWKSNoMatchingKey)) throw error;
          const newer = await source.newerKeys().catch(orUnavailable);
          if (newer === keys) throw error;
          return verify(newer);
        });
        const user: EndUser = { kind: 'user', identity: identitySchema.parse(payload[claim]) };
        keep(token, user, (payload.exp ?? 0) * 1000);
        return user;
      } catch (error) {
        if (error instanceof HttpProblem) throw error;
        throw new HttpProblem('UNAUTHORIZED', undefined, { cause: error });
      }
    },
  };
}

function orUnavailable(error: unknown): never {
  throw new HttpProblem('AUTH_UNAVAILABLE', undefined, { cause: error });
}
