import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startLivekitStandIn, startService, temporaryDirectory } from '../fixtures.ts';
import type { Answer } from '../fixtures.ts';

const wanted = { id: 'c1', caller: 'ann', invitees: ['bob'] };

it('an end user calls, answers and hangs up as themselves alone', async () => {
  const { publicKey, privateKey } = await generateKeyPair('ES256');
  const jwks = join(await temporaryDirectory(), 'jwks.json');
  await writeFile(jwks, JSON.stringify({ keys: [{ ...(await exportJWK(publicKey)), alg: 'ES256' }] }));
  const endUsers = { jwks, issuer: 'https://id.example.com', audience: 'calls', claim: 'sub' };
  const service = await startService((await startLivekitStandIn()).url, { endUsers });
  const as = async (identity: string, method: 'GET' | 'POST', path: string, body?: unknown): Promise<Answer> => {
    const jwt = new SignJWT({ sub: identity }).setProtectedHeader({ alg: 'ES256' }).setIssuer(endUsers.issuer).setAudience('calls').setExpirationTime('5m');
    return service.call(method, `/api/v1${path}`, body, { authorization: `Bearer ${await jwt.sign(privateKey)}` });
  };
  const notTheirs = { status: 403, body: { code: 'NOT_YOURS' } };
  expect(await as('eve', 'POST', '/calls', wanted)).toMatchObject(notTheirs);
  expect((await as('ann', 'POST', '/calls', wanted)).status).toBe(201);
  // Whoever is named, it is the token that counts.
  for (const what of ['accept', 'reject', 'cancel', 'leave', 'end'])
    expect(await as('eve', 'POST', `/calls/c1/${what}`, { by: 'bob' })).toMatchObject(notTheirs);
  expect(await as('eve', 'POST', '/calls/c1/invite', { by: 'ann', invitees: ['eve'] })).toMatchObject(notTheirs);
  expect(await as('eve', 'GET', '/calls?by=ann')).toMatchObject(notTheirs);
  expect(await as('eve', 'GET', '/users/ann/sync')).toMatchObject(notTheirs);
  expect(await as('bob', 'POST', '/calls/c1/accept', { by: 'bob', metadata: 'admin' })).toMatchObject(notTheirs);
  // Whoever is not of a call does not see it.
  expect((await as('eve', 'GET', '/calls/c1')).status).toBe(404);
  expect((await as('eve', 'GET', '/calls')).body).toEqual({ calls: [], cursor: null });
  expect(await as('eve', 'POST', '/calls/c1/end', {})).toMatchObject({ status: 403, body: { code: 'NOT_YOUR_CALL' } });
  expect((await as('bob', 'GET', '/users/bob/sync')).body).toMatchObject({ calls: [{ call: { id: 'c1' }, join: null }] });
  expect((await as('bob', 'POST', '/calls/c1/accept', { by: 'bob' })).status).toBe(200);
  expect((await as('bob', 'GET', '/calls')).body).toMatchObject({ calls: [{ id: 'c1', state: 'active' }] });
  expect((await as('ann', 'POST', '/calls/c1/end', {})).body).toMatchObject({ state: 'ended', reason: 'completed' });
});
