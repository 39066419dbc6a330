import { createServer } from 'node:http';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import * as jose from 'jose';
import { describe, expect, it } from 'vitest';
import { operations } from '../../src/contract/api.ts';
import { openKeySource } from '../../src/service/auth/key-source.ts';
import { listen, roomEvent, startLivekitStandIn, startService, temporaryDirectory } from './fixtures.ts';
import type { Answer, TestService } from './fixtures.ts';

const ISSUER = 'https://id.example.com';
const AUDIENCE = 'meetings';

interface Key {
  readonly kid: string;
  readonly alg: string;
  readonly private: jose.CryptoKey;
  readonly jwk: jose.JWK;
}

async function makeKey(kid: string, alg = 'ES256'): Promise<Key> {
  const { privateKey, publicKey } = await jose.generateKeyPair(alg, { extractable: true });
  return { kid, alg, private: privateKey, jwk: { ...(await jose.exportJWK(publicKey)), kid, alg } };
}

/** An identity provider with keys that may change. */
async function startProvider(keys: Key[]): Promise<{ url: string; keys: Key[]; asked: () => number; answer: (status: number) => void }> {
  const provider = { keys, status: 200, asked: 0 };
  const url = await listen(
    createServer((_request, response) => {
      provider.asked++;
      response.writeHead(provider.status).end(JSON.stringify({ keys: provider.keys.map(({ jwk }) => jwk) }));
    }),
  );
  return { url, keys, asked: () => provider.asked, answer: (status) => (provider.status = status) };
}

interface Claims {
  sub?: unknown;
  iss?: string;
  aud?: string;
  exp?: number | null;
  nbf?: number;
}

const nowS = (): number => Math.floor(Date.now() / 1000);

function sign(key: Pick<Key, 'kid' | 'alg' | 'private'>, { sub = 'ann', iss = ISSUER, aud = AUDIENCE, exp = nowS() + 60, nbf }: Claims = {}): Promise<string> {
  const claims = { sub, iss, aud, ...(exp === null ? {} : { exp }), ...(nbf === undefined ? {} : { nbf }) };
  return new jose.SignJWT(claims as jose.JWTPayload).setProtectedHeader({ alg: key.alg, kid: key.kid }).sign(key.private);
}

function as(service: TestService, token: string): (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown) => Promise<Answer> {
  return (method, path, body) => service.call(method, `/api/v1${path}`, body, { authorization: `Bearer ${token}` });
}

async function start(jwks: string, change: object = {}): Promise<TestService> {
  const livekit = await startLivekitStandIn(undefined, {
    answers: {
      ListParticipants: [200, { participants: [{ sid: 'PA_1', identity: 'ann', name: '', metadata: '', state: 'ACTIVE', joinedAt: '1', tracks: [] }] }],
    },
  });
  const service = await startService(livekit.url, { endUsers: { jwks, issuer: ISSUER, audience: AUDIENCE, claim: 'sub' }, ...change });
  await service.call('POST', '/api/v1/rooms', { id: 'r1' });
  return service;
}

describe('an end user', () => {
  it('joins and leaves as themselves alone', async () => {
    const key = await makeKey('k1');
    const service = await start((await startProvider([key])).url);
    const call = as(service, await sign(key));
    expect(await call('POST', '/rooms/r1/join', { identity: 'ann' })).toMatchObject({ status: 200, body: { identity: 'ann' } });
    expect(await call('POST', '/rooms/r1/join', { identity: 'bob' })).toMatchObject({ status: 403, body: { code: 'NOT_YOURS' } });
    expect(await call('POST', '/rooms/r1/join', { identity: 'ann', metadata: '{"role":"host"}' })).toMatchObject({ status: 403, body: { code: 'NOT_YOURS' } });
    expect((await call('POST', '/rooms/r1/leave', { identity: 'ann' })).status).toBe(204);
    expect(await call('POST', '/rooms/r1/leave', { identity: 'bob' })).toMatchObject({ status: 403, body: { code: 'NOT_YOURS' } });
  });

  it('sees who is in a room that they are in', async () => {
    const key = await makeKey('k1');
    const service = await start((await startProvider([key])).url);
    await as(service, await sign(key))('POST', '/rooms/r1/join', { identity: 'ann' });
    await service.webhook(roomEvent('EV_1', 'participant_joined', { participant: 'ann' }));
    expect(await as(service, await sign(key))('GET', '/rooms/r1/participants')).toMatchObject({ status: 200, body: { participants: [{ identity: 'ann' }] } });
    expect(await as(service, await sign(key, { sub: 'bob' }))('GET', '/rooms/r1/participants')).toMatchObject({ status: 403, body: { code: 'NOT_YOURS' } });
  });

  it('may ask for nothing but what the document says', async () => {
    const key = await makeKey('k1');
    const service = await start((await startProvider([key])).url);
    const call = as(service, await sign(key));
    for (const { name, method, path, body, users } of operations) {
      const { status, body: answer } = await call(method, path.replace(':identity', 'ann').replaceAll(/:\w+/g, 'none'), body === undefined ? undefined : {});
      expect([name, status === 403 && answer['code'] === 'NOT_YOURS']).toEqual([name, users === undefined]);
    }
  });

  it.each<[string, (key: Key) => Promise<string>]>([
    ['another issuer', (key) => sign(key, { iss: 'https://other.example.com' })],
    ['another audience', (key) => sign(key, { aud: 'mail' })],
    ['expired', (key) => sign(key, { exp: nowS() - 40 })],
    ['that never expires', (key) => sign(key, { exp: null })],
    ['not yet valid', (key) => sign(key, { nbf: nowS() + 40 })],
    ['without an identity', (key) => sign(key, { sub: '' })],
    ['an identity that no room takes', (key) => sign(key, { sub: 'a/b c' })],
    ['an identity that is no text', (key) => sign(key, { sub: { admin: true } })],
    ['another key of the same name', async ({ kid }) => sign(await makeKey(kid))],
    ['a key that nobody knows', async () => sign(await makeKey('k9'))],
    ['no signature', async () => new jose.UnsecuredJWT({ sub: 'ann', iss: ISSUER, aud: AUDIENCE, exp: nowS() + 60 }).encode()],
    [
      'the public key as a shared secret',
      async ({ jwk, kid }) =>
        new jose.SignJWT({ sub: 'ann', iss: ISSUER, aud: AUDIENCE, exp: nowS() + 60 })
          .setProtectedHeader({ alg: 'HS256', kid })
          .sign(new TextEncoder().encode(JSON.stringify(jwk))),
    ],
    [
      'tampered',
      async (key) =>
        (await sign(key)).replace(
          /\.[^.]+\./,
          `.${Buffer.from(JSON.stringify({ sub: 'bob', iss: ISSUER, aud: AUDIENCE, exp: nowS() + 60 })).toString('base64url')}.`,
        ),
    ],
    ['no JWT', async () => 'a.b.c'],
  ])('is refused with a token: %s', async (_name, make) => {
    const key = await makeKey('k1');
    const service = await start((await startProvider([key])).url);
    expect(await as(service, await make(key))('GET', '/rooms/r1')).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } });
    expect((await as(service, await sign(key))('GET', '/rooms/r1')).status).toBe(200);
  });

  it('is taken with a clock that is a little off', async () => {
    const key = await makeKey('k1', 'RS256');
    const service = await start((await startProvider([key])).url);
    for (const claims of [{ exp: nowS() - 20 }, { nbf: nowS() + 20 }])
      expect((await as(service, await sign(key, claims))('GET', '/rooms/r1')).status).toBe(200);
  });

  it('is told apart from a failing identity provider', async () => {
    const key = await makeKey('k1');
    const provider = await startProvider([key]);
    const service = await start(provider.url);
    provider.answer(500);
    expect(await as(service, await sign(key))('GET', '/rooms/r1')).toMatchObject({ status: 503, body: { code: 'AUTH_UNAVAILABLE' } });
    provider.answer(200);
    expect((await as(service, await sign(key))('GET', '/rooms/r1')).status).toBe(200);
  });

  it('may come from an identity of another claim, with keys in a file', async () => {
    const key = await makeKey('k1', 'EdDSA');
    const jwks = join(await temporaryDirectory(), 'jwks.json');
    await writeFile(jwks, JSON.stringify({ keys: [key.jwk] }));
    const service = await start(jwks, { endUsers: { jwks, issuer: ISSUER, audience: AUDIENCE, claim: 'user' } });
    const token = await new jose.SignJWT({ sub: 'x', user: 'ann', iss: ISSUER, aud: AUDIENCE, exp: nowS() + 60 })
      .setProtectedHeader({ alg: 'EdDSA', kid: 'k1' })
      .sign(key.private);
    expect((await as(service, token)('POST', '/rooms/r1/join', { identity: 'ann' })).status).toBe(200);
  });

  it('is unknown where no keys are set', async () => {
    const key = await makeKey('k1');
    const service = await startService((await startLivekitStandIn()).url);
    expect((await as(service, await sign(key))('GET', '/rooms')).status).toBe(401);
  });
});

describe('the keys', () => {
  it('are asked for once, again after ten minutes, and kept while the provider is silent', async () => {
    const provider = await startProvider([await makeKey('k1')]);
    let nowMs = 1e12;
    const source = openKeySource({ place: provider.url, now: () => nowMs });
    await Promise.all([source.keys(), source.keys()]);
    await source.keys();
    expect(provider.asked()).toBe(1);
    nowMs += 601_000;
    provider.answer(500);
    expect((await source.keys()).keys).toHaveLength(1);
    // The provider is not asked by everyone who comes while it is silent.
    await source.keys();
    expect(provider.asked()).toBe(2);
    nowMs += 24 * 3_600_000;
    await expect(source.keys()).rejects.toThrow('500');
  });

  it('may change: a new one is asked for, and made-up ones twice a minute at most', async () => {
    const [former, next] = [await makeKey('k1'), await makeKey('k2')];
    const provider = await startProvider([former]);
    let nowMs = Date.now();
    const source = openKeySource({ place: provider.url, now: () => nowMs });
    await source.keys();
    provider.keys.push(next);
    expect((await source.newerKeys()).keys).toHaveLength(1);
    nowMs += 30_000;
    expect((await source.newerKeys()).keys).toHaveLength(2);
    for (let index = 0; index < 20; index++) await source.newerKeys();
    expect(provider.asked()).toBe(2);
  });
});
