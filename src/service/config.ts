import * as z from 'zod';

/** service.json. `tokenSha256` holds hex SHA-256 of the bearer tokens that are accepted, never the tokens. */
export const serviceConfigSchema = z
  .strictObject({
    /** Loopback is opened in any case. */
    bind: z.union([z.ipv4(), z.ipv6()]),
    /** 0: any free port. */
    port: z.int().min(0).max(65_535),
    /** Path of the SQLite file, whose directory exists; or the URL of a PostgreSQL database, which may hold a password. */
    database: z
      .string()
      .regex(/^\/|^postgres(ql)?:\/\//, 'neither a path nor postgres://…')
      .refine((value) => value.startsWith('/') || URL.canParse(value), 'not a URL'),
    /** Where LiveKit's server API answers, without a trailing slash. */
    livekitApiUrl: z.url().regex(/[^/]$/, 'ends with a slash'),
    /** What clients connect to; a room's node path is appended. */
    publicUrl: z.string().regex(/^wss?:\/\/.*[^/]$/, 'not ws(s)://… without a trailing slash'),
    /** The same without TLS, for who asks over plain http: there no certificate has to be trusted. Null where plain http is not served. */
    plainUrl: z
      .string()
      .regex(/^ws:\/\/.*[^/]$/, 'not ws://… without a trailing slash')
      .nullable(),
    /** The agent that knows each room's node; null: every room at `publicUrl`. */
    nodeLookupUrl: z.url().regex(/[^/]$/, 'ends with a slash').nullable(),
    /** API key → secret; webhooks signed by any of them are taken. Empty: no media machine has joined yet. */
    livekitKeys: z.record(z.string().min(1), z.string().min(1)),
    /** The key that signs tokens and calls to LiveKit. */
    signingKey: z.string(),
    tokenSha256: z.array(z.string().regex(/^[0-9a-f]{64}$/)).min(1),
    tokenTtlSeconds: z.int().positive(),
    /** Finished rooms and webhooks are kept for so long. */
    historyDays: z.int().positive(),
    /** End users' JWTs; null: none are taken. `jwks` is a URL or the path of a file. */
    endUsers: z
      .strictObject({
        jwks: z.union([z.url({ protocol: /^https?$/ }), z.string().regex(/^\/./)]),
        issuer: z.string().min(1),
        audience: z.string().min(1),
        claim: z.string().min(1),
      })
      .nullable(),
    /** Requests a second, and five times as many at once; 0: no limit. `addressPerSecond`: those without a token, and with a wrong one. */
    limits: z.strictObject({ tokenPerSecond: z.number().min(0), userPerSecond: z.number().min(0), addressPerSecond: z.number().min(0) }),
    /** Origins whose pages may ask; `*`: all. */
    corsOrigins: z.array(z.string().min(1)),
    /** Whether outgoing webhooks may go over plain http to public addresses too. */
    webhookHttp: z.enum(['private', 'any']).default('private'),
    logLevel: z.enum(['debug', 'info', 'warn', 'error']),
  })
  .refine((config) => Object.keys(config.livekitKeys).length === 0 || Object.hasOwn(config.livekitKeys, config.signingKey), {
    path: ['signingKey'],
    message: 'is not one of livekitKeys',
  });

/** Checked configuration of the business service. */
export type ServiceConfig = z.infer<typeof serviceConfigSchema>;
