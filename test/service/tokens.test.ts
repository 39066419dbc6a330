import { join } from 'node:path';
import { describe, expect, it, vi } from 'vitest';
import { operations } from '../../src/contract/api.ts';
import { covers, scopes } from '../../src/contract/scopes.ts';
import { createServerTokens } from '../../src/service/auth/server-tokens.ts';
import { openStore } from '../../src/service/store/store.ts';
import type { TokenRecord } from '../../src/service/store/token-rows.ts';
import { apiToken, startLivekitStandIn, startService, storedText, temporaryDirectory } from './fixtures.ts';
import type { Answer, TestService } from './fixtures.ts';

interface Made {
  readonly id: string;
  readonly token: string;
}

async function makeToken(service: TestService, given: string[], more: object = {}): Promise<Made> {
  const answer = await service.call('POST', '/api/v1/tokens', { name: 'an application', scopes: given, ...more });
  expect(answer.status).toBe(201);
  return answer.body as unknown as Made;
}

function as(service: TestService, token: string): (method: 'GET' | 'POST' | 'PATCH' | 'DELETE', path: string, body?: unknown) => Promise<Answer> {
  return (method, path, body) => service.call(method, `/api/v1${path}`, body, { authorization: `Bearer ${token}` });
}

describe('server tokens', () => {
  it('one is good as soon as it is made, also while the others are being read', async () => {
    const records: TokenRecord[] = [];
    const waiting: Array<() => void> = [];
    const store = {
      // As over a database that answers later.
      list: async () => {
        const found = [...records];
        await new Promise<void>((answer) => waiting.push(answer));
        return found;
      },
      add: async (record: TokenRecord) => void records.push(record),
      remove: async () => false,
      noteUse: async () => undefined,
    };
    const tokens = createServerTokens({ store: { tokens: store }, sha256: [], now: () => 0 });
    const first = tokens.find('lkft_none');
    const making = tokens.create(
      { name: 'an application', scopes: ['rooms:read'] },
      { kind: 'server', id: 'tok_1', scopes: new Set(scopes), expiresAtMs: null },
    );
    await vi.waitFor(() => expect(records).toHaveLength(1));
    waiting.shift()?.();
    expect(await first).toBeNull();
    const found = tokens.find((await making).token);
    waiting.shift()?.();
    expect(await found).toMatchObject({ kind: 'server' });
  });

  it('several are good at once, until each is revoked', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    const [former, next] = [await makeToken(service, ['rooms:*']), await makeToken(service, ['*'])];
    for (const { token } of [former, next]) expect((await as(service, token)('GET', '/rooms')).status).toBe(200);
    expect((await service.call('DELETE', `/api/v1/tokens/${former.id}`)).status).toBe(204);
    expect(await as(service, former.token)('GET', '/rooms')).toMatchObject({ status: 401, body: { code: 'UNAUTHORIZED' } });
    expect((await as(service, next.token)('GET', '/rooms')).status).toBe(200);
    expect(await service.call('DELETE', `/api/v1/tokens/${former.id}`)).toMatchObject({ status: 404, body: { code: 'TOKEN_NOT_FOUND' } });
  });

  it('a room with invitees is a call, whichever way it is asked for', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    const [ofRooms, ofBoth] = [await makeToken(service, ['rooms:*']), await makeToken(service, ['rooms:*', 'calls:*'])];
    const wanted = { caller: 'ann', invitees: ['bob'] };
    expect(await as(service, ofRooms.token)('POST', '/rooms', wanted)).toMatchObject({ status: 403, body: { code: 'FORBIDDEN' } });
    expect((await as(service, ofRooms.token)('POST', '/rooms', {})).status).toBe(201);
    expect((await as(service, ofBoth.token)('POST', '/rooms', wanted)).status).toBe(201);
  });

  it('are listed without what they are, and nothing but their hash is kept', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    const expiresAt = new Date(Date.now() + 3_600_000).toISOString();
    const { id, token } = await makeToken(service, ['rooms:read'], { expiresAt });
    expect(token).toMatch(/^lkft_[\w-]{43}$/);
    await as(service, token)('GET', '/rooms');
    await vi.waitFor(async () => {
      const { body } = await service.call('GET', '/api/v1/tokens');
      const shown = { id, name: 'an application', scopes: ['rooms:read'], createdAt: expect.any(String), expiresAt, lastUsedAt: expect.any(String) };
      expect(body).toEqual({ tokens: [shown] });
    });
    const kept = await storedText(service);
    expect([kept.includes(id), kept.includes(token)]).toEqual([true, false]);
    expect(service.logs.join('')).not.toContain(token);
  });

  it('end when they expire', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    const { token } = await makeToken(service, ['*'], { expiresAt: new Date(Date.now() - 1000).toISOString() });
    expect((await as(service, token)('GET', '/rooms')).status).toBe(401);
  });

  it('open what their scopes cover, and nothing else', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    await service.call('POST', '/api/v1/rooms', { id: 'r1' });
    for (const scope of scopes) {
      const call = as(service, (await makeToken(service, [scope])).token);
      for (const one of operations) {
        const { status, body } = await call(one.method, one.path.replace(/:\w+/g, 'none'), one.body === undefined ? undefined : {});
        expect([scope, one.name, status === 403 && body['code'] === 'FORBIDDEN']).toEqual([scope, one.name, one.scope !== scope]);
      }
      expect((await call('GET', '/unknown')).status).toBe(404);
    }
  });

  it('give no more than they have', async () => {
    const service = await startService((await startLivekitStandIn()).url);
    const call = as(service, (await makeToken(service, ['tokens:*', 'rooms:read'])).token);
    expect((await call('POST', '/tokens', { name: 'less', scopes: ['rooms:read'] })).status).toBe(201);
    for (const more of ['*', 'rooms:*', 'history:read'])
      expect(await call('POST', '/tokens', { name: 'more', scopes: [more] })).toMatchObject({ status: 403, body: { code: 'TOKEN_SCOPES' } });
    expect((await call('POST', '/tokens', { name: 'none', scopes: ['rooms:fly'] })).status).toBe(400);
  });

  it('are revoked within seconds in every instance that shares the database', async () => {
    const path = join(await temporaryDirectory(), 'service.db');
    const [store, other] = [await openStore(path), await openStore(path)];
    let nowMs = 1_000_000;
    const now = (): number => nowMs;
    const [here, there] = [createServerTokens({ store, sha256: [], now }), createServerTokens({ store: other, sha256: [], now })];
    const all = { kind: 'server', id: 'x', scopes: new Set(scopes), expiresAtMs: null } as const;
    const { id, token } = await here.create({ name: 'a', scopes: ['*'] }, all);
    expect([await here.find(token), await there.find(token)]).toMatchObject([{ id }, { id }]);
    await here.revoke(id);
    expect(await here.find(token)).toBeNull();
    nowMs += 3_000;
    expect(await there.find(token)).toBeNull();
    await store.close();
    await other.close();
  });
});

it('the token of the settings has every scope, and cannot be revoked', async () => {
  const service = await startService((await startLivekitStandIn()).url);
  expect((await service.call('DELETE', '/api/v1/tokens/SERVICE_API_TOKEN')).status).toBe(404);
  expect((await as(service, apiToken)('GET', '/tokens')).body).toEqual({ tokens: [] });
});

it.each([
  [['*'], 'rooms:read', true],
  [['rooms:*'], 'rooms:read', true],
  [['rooms:read'], 'rooms:read', true],
  [['rooms:read'], 'rooms:write', false],
  [['rooms:*'], 'roomsx:read', false],
  [[], 'rooms:read', false],
])('%j covers %s: %s', (grants, scope, is) => {
  expect(covers(grants, scope)).toBe(is);
});
