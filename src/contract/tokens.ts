import * as z from 'zod';
import { grantSchema } from './scopes.ts';

/** How a token begins, so that people and secret scanners know it for one. */
export const TOKEN_PREFIX = 'lkft_';

/** The id of a server token. */
export const tokenIdSchema = z.string().regex(/^[\w-]{1,64}$/);

/** POST /api/v1/tokens. Without `expiresAt` it lasts until it is revoked. */
export const createTokenSchema = z.strictObject({
  name: z.string().min(1).max(100),
  scopes: z.array(grantSchema).min(1).max(50),
  expiresAt: z.iso.datetime({ offset: true }).optional(),
});

/** A server token without what it is. `lastUsedAt` to ten minutes. */
export const tokenView = z.object({
  id: z.string(),
  name: z.string(),
  scopes: z.array(z.string()),
  createdAt: z.iso.datetime(),
  expiresAt: z.iso.datetime().nullable(),
  lastUsedAt: z.iso.datetime().nullable(),
});
export type TokenView = z.infer<typeof tokenView>;

/** A new server token, the only time it is shown. */
export const newTokenView = tokenView.extend({ token: z.string() });
export type NewTokenView = z.infer<typeof newTokenView>;
