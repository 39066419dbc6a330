import { exportJWK, generateKeyPair, SignJWT } from 'jose';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { startLivekitStandIn, startService, temporaryDirectory } from '../fixtures.ts';
import type { Answer } from '../fixtures.ts';

const wanted = { caller: 'ann', invitees: ['bob'] };

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
  // An application may be about to make a room of that id.
  expect(await as('ann', 'POST', '/calls', { ...wanted, id: 'lobby' })).toMatchObject(notTheirs);
  const made = await as('ann', 'POST', '/calls', wanted);
  expect(made.status).toBe(201);
  const id = String(made.body['id']);
  // Whoever is named, it is the token that counts.
  for (const what of ['accept', 'reject', 'cancel', 'leave', 'end'])
    expect(await as('eve', 'POST', `/calls/${id}/${what}`, { by: 'bob' })).toMatchObject(notTheirs);
  expect(await as('eve', 'POST', `/calls/${id}/invite`, { by: 'ann', invitees: ['eve'] })).toMatchObject(notTheirs);
  expect(await as('eve', 'GET', '/calls?by=ann')).toMatchObject(notTheirs);
  expect(await as('eve', 'GET', '/users/ann/sync')).toMatchObject(notTheirs);
  expect(await as('bob', 'POST', `/calls/${id}/accept`, { by: 'bob', metadata: 'admin' })).toMatchObject(notTheirs);
  // Whoever is not of a call does not see it.
  expect((await as('eve', 'GET', `/calls/${id}`)).status).toBe(404);
  expect(await as('eve', 'GET', `/rooms/${id}`)).toMatchObject({ status: 404, body: { code: 'ROOM_NOT_FOUND' } });
  expect((await as('bob', 'GET', `/rooms/${id}`)).body).toMatchObject({ id, isCall: true });
  expect((await as('eve', 'GET', '/calls')).body).toEqual({ calls: [], cursor: null });
  expect(await as('eve', 'POST', `/calls/${id}/end`, {})).toMatchObject({ status: 403, body: { code: 'NOT_YOUR_CALL' } });
  expect((await as('bob', 'GET', '/users/bob/sync')).body).toMatchObject({ calls: [{ call: { id }, join: null }] });
  expect((await as('bob', 'POST', `/calls/${id}/accept`, { by: 'bob' })).status).toBe(200);
  expect((await as('bob', 'GET', '/calls')).body).toMatchObject({ calls: [{ id, state: 'active' }] });
  expect((await as('ann', 'POST', `/calls/${id}/end`, {})).body).toMatchObject({ state: 'ended', reason: 'completed' });
});
