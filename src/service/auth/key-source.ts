import { readFile } from 'node:fs/promises';
import type { JSONWebKeySet } from 'jose';
import * as z from 'zod';
import { sendRequest } from '../../clients/http-request.ts';
import { parseJson } from '../../kernel/parse-json.ts';

/** Identity providers change their keys days ahead, and ask clients not to ask often. */
const FRESH_MS = 600_000;
/** An unknown key is asked for at most this often, whoever sends made-up ones. */
const ASK_AGAIN_MS = 30_000;
/** The last keys count this long while the provider does not answer. */
const STALE_MS = 24 * 3_600_000;
const TIMEOUT_MS = 5_000;
const MAX_BYTES = 1024 * 1024;

const jwksSchema = z.looseObject({ keys: z.array(z.looseObject({ kty: z.string() })).min(1) });

/** The public keys that vouch for end users' tokens. */
export interface KeySource {
  /** Those that are known; asked for where they are old. Rejects where none can be had. */
  keys(): Promise<JSONWebKeySet>;
  /** Those of now, after a key was not among the others; the same again within half a minute. */
  newerKeys(): Promise<JSONWebKeySet>;
}

/** @param options.place an http(s) URL, or the path of a file (JWKS, RFC 7517); @param options.now milliseconds since the epoch */
export function openKeySource({ place, now }: { place: string; now: () => number }): KeySource {
  let known: { jwks: JSONWebKeySet; atMs: number } | null = null;
  let askedAtMs = Number.NEGATIVE_INFINITY;
  let asking: Promise<JSONWebKeySet> | null = null;

  const ask = (): Promise<JSONWebKeySet> => {
    askedAtMs = now();
    asking ??= load(place)
      .then((jwks) => {
        known = { jwks, atMs: now() };
        return jwks;
      })
      .finally(() => (asking = null));
    return asking;
  };
  const orKnown = (error: unknown): JSONWebKeySet => {
    if (known !== null && now() - known.atMs < STALE_MS) return known.jwks;
    throw error;
  };
  return {
    async keys() {
      if (known !== null && now() - known.atMs < FRESH_MS) return known.jwks;
      // Nobody waits for a provider that was silent a moment ago, as long as there are keys.
      if (known !== null && now() - askedAtMs < ASK_AGAIN_MS) return orKnown(new Error('no keys'));
      return ask().catch(orKnown);
    },
    async newerKeys() {
      if (known !== null && now() - askedAtMs < ASK_AGAIN_MS) return known.jwks;
      return ask().catch(orKnown);
    },
  };
}

async function load(place: string): Promise<JSONWebKeySet> {
  const jwks = parseJson(jwksSchema, place.startsWith('/') ? await readFile(place, 'utf8') : await download(place));
  if (jwks === null) throw new Error(`${place} holds no JWKS`);
  return jwks;
}

async function download(url: string): Promise<string> {
  const { status, text } = await sendRequest({ url, timeoutMs: TIMEOUT_MS, maxBodyBytes: MAX_BYTES });
  if (status !== 200) throw new Error(`${url} answers ${status}`);
  return text;
}
