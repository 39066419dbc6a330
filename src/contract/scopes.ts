import * as z from 'zod';

/** What a server token may be allowed. */
export const scopes = [
  'rooms:read',
  'rooms:write',
  'rooms:join',
  'participants:read',
  'participants:write',
  'history:read',
  'calls:read',
  'calls:write',
  'webhooks:read',
  'webhooks:write',
  'tokens:read',
  'tokens:write',
  'metrics:read',
] as const;

export type Scope = (typeof scopes)[number];

const subjects = [...new Set(scopes.map((scope) => `${scope.split(':')[0] ?? ''}:*`))];

/** A scope, all of a subject (`rooms:*`), or all there are (`*`). */
export const grantSchema = z.enum(['*', ...subjects, ...scopes]);

/** True where one of the grants covers the scope. */
export function covers(grants: readonly string[], scope: string): boolean {
  return grants.some((grant) => grant === '*' || grant === scope || (grant.endsWith(':*') && scope.startsWith(grant.slice(0, -1))));
}
