import { z } from 'zod';

/** service.json. `tokenSha256` holds hex SHA-256 of the bearer tokens that are accepted, never the tokens. */
export const serviceConfigSchema = z.strictObject({
  bind: z.string(),
  port: z.int(),
  database: z.string(),
  livekitApiUrl: z.url(),
  publicUrl: z.string(),
  nodeLookupUrl: z.url().nullable(),
  livekitKeys: z.record(z.string(), z.string()),
  signingKey: z.string(),
  tokenSha256: z.array(z.string().regex(/^[0-9a-f]{64}$/)).min(1),
  tokenTtlSeconds: z.int().positive(),
  logLevel: z.enum(['debug', 'info', 'warn', 'error']),
});

/** Checked configuration of the business service. */
export type ServiceConfig = z.infer<typeof serviceConfigSchema>;
