import { createHmac, hash, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';

/** LiveKit signs webhooks with tokens that live five minutes (livekit/protocol, webhook/resource_url_notifier.go). */
const WEBHOOK_LIFETIME_S = 300;
/** Clocks of one fleet differ by less than this: a deploy refuses more than 3 s. */
const LEEWAY_S = 5;

const headerSchema = z.object({ alg: z.literal('HS256') });
/** As it is written here and by LiveKit. */
const HEADER = encode({ alg: 'HS256', typ: 'JWT' });
const claimsSchema = z.object({ iss: z.string(), exp: z.number(), nbf: z.number().optional(), sha256: z.string().optional() });

const joinSchema = z.object({ video: z.object({ room: z.string().min(1) }) });

/** API key → secret. */
export type ApiKeys = Readonly<Record<string, string>>;

/** Who signs, and from when on. */
export interface Signer {
  readonly apiKey: string;
  readonly secret: string;
  readonly nowMs: number;
}

/** What a token lets its bearer do; the names are LiveKit's own (livekit/protocol, auth/grants.go). */
export interface VideoGrant {
  readonly roomCreate?: boolean;
  readonly roomAdmin?: boolean;
  readonly roomList?: boolean;
  readonly roomJoin?: boolean;
  readonly room?: string;
  readonly canPublish?: boolean;
  /** Of `camera`, `microphone`, `screen_share`, `screen_share_audio`; all where absent. */
  readonly canPublishSources?: readonly string[];
  readonly canSubscribe?: boolean;
  readonly canPublishData?: boolean;
}

/** A LiveKit access token (JWT, HS256), valid from now for `ttlSeconds`. */
export function signAccessToken(
  grant: VideoGrant,
  signer: Signer & { ttlSeconds: number; identity?: string; name?: string | undefined; metadata?: string | undefined },
): string {
  const { identity, name, metadata, ttlSeconds } = signer;
  const person = { ...(identity === undefined ? {} : { sub: identity, jti: identity }), ...(name === undefined ? {} : { name }) };
  return signClaims({ ...person, ...(metadata === undefined ? {} : { metadata }), video: grant }, signer, ttlSeconds);
}

/** A token like LiveKit's own for this webhook body, valid from now for five minutes. */
export function signWebhook(body: Uint8Array, signer: Signer): string {
  return signClaims({ sha256: hashBody(body) }, signer, WEBHOOK_LIFETIME_S);
}

/** True if `token` was signed with one of `keys`, is valid at `nowMs`, and names the hash of exactly this body. */
export function isWebhookTokenValid(token: string, body: Uint8Array, options: { keys: ApiKeys; nowMs: number }): boolean {
  const vouched = signedBodyHash(token, options);
  return vouched !== null && isHashOf(vouched, body);
}

/** True for the hash, in standard base64, of exactly this body. */
export function isHashOf(vouched: string, body: Uint8Array): boolean {
  // Nothing is secret here: who has the key vouched for it.
  return vouched === hashBody(body);
}

/**
 * The hash of the body that `token` vouches for, null unless one of `keys` signed it and it is valid at `nowMs`.
 * It needs no body: a server can refuse a stranger before it reads what he sends.
 */
export function signedBodyHash(token: string, options: { keys: ApiKeys; nowMs: number }): string | null {
  const [header, payload, signature, ...rest] = token.split('.');
  if (header === undefined || payload === undefined || signature === undefined || rest.length > 0) return null;
  const claims = claimsSchema.safeParse(decode(payload)).data;
  if (claims?.sha256 === undefined || !(header === HEADER || headerSchema.safeParse(decode(header)).success)) return null;
  const secret = Object.hasOwn(options.keys, claims.iss) ? options.keys[claims.iss] : undefined;
  if (secret === undefined || !isEqual(signature, sign(`${header}.${payload}`, secret))) return null;
  const nowS = options.nowMs / 1000;
  if (claims.exp + LEEWAY_S < nowS || (claims.nbf ?? 0) - LEEWAY_S > nowS) return null;
  return claims.sha256;
}

/** The room that an access token is for, whoever signed it: no more than a hint. Null where it names none. */
export function roomOfToken(token: string): string | null {
  return joinSchema.safeParse(decode(token.split('.')[1] ?? '')).data?.video.room ?? null;
}

/** When a stored token ends, in milliseconds; 0 where it does not say. It was verified when it was stored. */
export function tokenExpiryMs(token: string): number {
  return (claimsSchema.safeParse(decode(token.split('.')[1] ?? '')).data?.exp ?? 0) * 1000;
}

function signClaims(claims: Readonly<Record<string, unknown>>, { apiKey, secret, nowMs }: Signer, ttlSeconds: number): string {
  const nowS = Math.floor(nowMs / 1000);
  const text = `${HEADER}.${encode({ ...claims, iss: apiKey, nbf: nowS, exp: nowS + ttlSeconds })}`;
  return `${text}.${sign(text, secret)}`;
}

function hashBody(body: Uint8Array): string {
  return hash('sha256', body, 'base64');
}

function sign(text: string, secret: string): string {
  return createHmac('sha256', secret).update(text).digest('base64url');
}

function encode(value: unknown): string {
  return Buffer.from(JSON.stringify(value)).toString('base64url');
}

function decode(part: string): unknown {
  try {
    return JSON.parse(Buffer.from(part, 'base64url').toString('utf8'));
  } catch (error) {
    if (error instanceof SyntaxError) return null;
    throw error;
  }
}

function isEqual(a: string, b: string): boolean {
  const [left, right] = [Buffer.from(a), Buffer.from(b)];
  return left.length === right.length && timingSafeEqual(left, right);
}
