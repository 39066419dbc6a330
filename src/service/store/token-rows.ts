import { all, change } from './work.ts';
import type { Row, Work } from './work.ts';

/** A server token: of the token itself only its SHA-256 is kept. */
export interface TokenRecord {
  readonly id: string;
  readonly name: string;
  /** Hex. */
  readonly sha256: string;
  /** As they were given (contract/scopes.ts). */
  readonly scopes: readonly string[];
  readonly createdAtMs: number;
  /** Null: it lasts until it is revoked. */
  readonly expiresAtMs: number | null;
  readonly lastUsedAtMs: number | null;
}

const COLUMNS = 'id, name, sha256, scopes, created_at, expires_at, last_used_at';

export function* addToken({ id, name, sha256, scopes, createdAtMs, expiresAtMs }: TokenRecord): Work<void> {
  const sql = 'INSERT INTO tokens (id, name, sha256, scopes, created_at, expires_at) VALUES (?, ?, ?, ?, ?, ?)';
  yield* change(sql, id, name, sha256, scopes.join(' '), createdAtMs, expiresAtMs);
}

/** All, the oldest first; also those that have expired. */
export function* listTokens(): Work<TokenRecord[]> {
  return (yield* all(`SELECT ${COLUMNS} FROM tokens ORDER BY created_at, id`)).map(toRecord);
}

/** False where there is none of this id. */
export function* removeToken(id: string): Work<boolean> {
  return (yield* change('DELETE FROM tokens WHERE id = ?', id)) > 0;
}

export function* noteTokenUse(id: string, atMs: number): Work<void> {
  yield* change('UPDATE tokens SET last_used_at = ? WHERE id = ? AND (last_used_at IS NULL OR last_used_at < ?)', atMs, id, atMs);
}

function toRecord(row: Row): TokenRecord {
  const time = (name: string): number | null => (row[name] === null ? null : Number(row[name]));
  return {
    id: String(row['id']),
    name: String(row['name']),
    sha256: String(row['sha256']),
    scopes: String(row['scopes']).split(' '),
    createdAtMs: Number(row['created_at']),
    expiresAtMs: time('expires_at'),
    lastUsedAtMs: time('last_used_at'),
  };
}
