import { hash, randomBytes, timingSafeEqual } from 'node:crypto';
import type * as z from 'zod';
import { covers, scopes as allScopes } from '../../contract/scopes.ts';
import { TOKEN_PREFIX } from '../../contract/tokens.ts';
import type { createTokenSchema, NewTokenView, TokenView } from '../../contract/tokens.ts';
import { HttpProblem } from '../problem.ts';
import type { Awaitable } from '../store/database.ts';
import type { Store } from '../store/store.ts';
import type { TokenRecord } from '../store/token-rows.ts';
import type { ServerPrincipal } from './principal.ts';

/** What another instance of the service did to a token counts here within this time. */
const REFRESH_MS = 3_000;
/** A token's last use is written down this often. */
const NOTE_USE_MS = 600_000;
/** The token of `.env`, which no request can revoke. */
const SETTINGS_TOKEN = 'SERVICE_API_TOKEN';

/** The bearer tokens of applications. */
export interface ServerTokens {
  /** Whose token it is; null where it is none, or not any more. */
  find(token: string): Awaitable<ServerPrincipal | null>;
  /** @throws HttpProblem 403 TOKEN_SCOPES: more than `by` has itself */
  create(wanted: z.infer<typeof createTokenSchema>, by: ServerPrincipal): Promise<NewTokenView>;
  list(): Promise<TokenView[]>;
  /** From now on nobody is let in by it. @throws HttpProblem 404 TOKEN_NOT_FOUND */
  revoke(id: string): Promise<void>;
}

interface Known {
  readonly principal: ServerPrincipal;
  readonly sha256: Buffer;
  lastUsedAtMs: number;
}

/** @param options.sha256 hex hashes of the tokens of the settings, which have all scopes; @param options.now milliseconds since the epoch */
export function createServerTokens(options: { store: Pick<Store, 'tokens'>; sha256: readonly string[]; now: () => number }): ServerTokens {
  const { store, now } = options;
  const settings = options.sha256.map((one) => ({
    principal: principalOf({ id: SETTINGS_TOKEN, scopes: ['*'], expiresAtMs: null }),
    sha256: Buffer.from(one, 'hex'),
  }));
  let known = new Map<string, Known>();
  let readAtMs = Number.NEGATIVE_INFINITY;
  let reading: Promise<void> | null = null;
  /** Removed here: an answer that was on its way does not bring them back. */
  const revoked = new Set<string>();

  const take = (records: readonly TokenRecord[]): void => {
    const left = records.filter(({ id }) => !revoked.has(id));
    known = new Map(
      left.map((one) => [one.sha256, { principal: principalOf(one), sha256: Buffer.from(one.sha256, 'hex'), lastUsedAtMs: one.lastUsedAtMs ?? 0 }]),
    );
    readAtMs = now();
  };
  const refresh = (): Awaitable<void> => {
    if (reading !== null) return reading;
    const records = store.tokens.list();
    if (!(records instanceof Promise)) return take(records);
    reading = records.then(take).finally(() => (reading = null));
    return reading;
  };
  const look = (given: Buffer): ServerPrincipal | null => {
    // The table is found by a hash that nobody can choose; what is compared then takes as long for every token.
    const one = known.get(given.toString('hex'));
    if (one === undefined || !timingSafeEqual(one.sha256, given)) return null;
    const nowMs = now();
    if (one.principal.expiresAtMs !== null && one.principal.expiresAtMs <= nowMs) return null;
    if (nowMs - one.lastUsedAtMs >= NOTE_USE_MS) {
      one.lastUsedAtMs = nowMs;
      // Nobody waits for it, and the next use tells again.
      store.tokens.noteUse(one.principal.id, nowMs).catch(() => (one.lastUsedAtMs = 0));
    }
    return one.principal;
  };
  return {
    find(token) {
      const given = hash('sha256', token, 'buffer');
      for (const one of settings) if (timingSafeEqual(one.sha256, given)) return one.principal;
      if (now() - readAtMs < REFRESH_MS && now() >= readAtMs) return look(given);
      const read = refresh();
      return read instanceof Promise ? read.then(() => look(given)) : look(given);
    },
    async create({ name, scopes, expiresAt }, by) {
      const more = allScopes.filter((scope) => covers(scopes, scope) && !by.scopes.has(scope));
      if (more.length > 0) throw new HttpProblem('TOKEN_SCOPES', { scopes: more.join(' ') });
      const token = `${TOKEN_PREFIX}${randomBytes(32).toString('base64url')}`;
      const record: TokenRecord = {
        id: `tok_${randomBytes(9).toString('base64url')}`,
        name,
        sha256: hash('sha256', token, 'hex'),
        scopes: [...new Set(scopes)],
        createdAtMs: now(),
        expiresAtMs: expiresAt === undefined ? null : Date.parse(expiresAt),
        lastUsedAtMs: null,
      };
      await store.tokens.add(record);
      // What was asked before does not know it.
      await reading?.catch(() => undefined);
      readAtMs = Number.NEGATIVE_INFINITY;
      return { ...viewOf(record), token };
    },
    list: async () => (await store.tokens.list()).map(viewOf),
    async revoke(id) {
      if (!(await store.tokens.remove(id))) throw new HttpProblem('TOKEN_NOT_FOUND', { id });
      revoked.add(id);
      for (const [key, { principal }] of known) if (principal.id === id) known.delete(key);
    },
  };
}

function principalOf({ id, scopes, expiresAtMs }: Pick<TokenRecord, 'id' | 'scopes' | 'expiresAtMs'>): ServerPrincipal {
  return { kind: 'server', id, scopes: new Set(allScopes.filter((scope) => covers(scopes, scope))), expiresAtMs };
}

function viewOf({ id, name, scopes, createdAtMs, expiresAtMs, lastUsedAtMs }: TokenRecord): TokenView {
  return {
    id,
    name,
    scopes: [...scopes],
    createdAt: timeOf(createdAtMs),
    expiresAt: expiresAtMs === null ? null : timeOf(expiresAtMs),
    lastUsedAt: lastUsedAtMs === null ? null : timeOf(lastUsedAtMs),
  };
}

function timeOf(atMs: number): string {
  return new Date(atMs).toISOString();
}
