import { expect, it } from 'vitest';
import { operations } from '../../src/contract/api.ts';
import { openApiDocument } from '../../src/contract/openapi.ts';
import { apiProblems } from '../../src/contract/problems.ts';
import { scopes } from '../../src/contract/scopes.ts';
import { buildApp } from '../../src/service/app.ts';
import { openStore } from '../../src/service/store/store.ts';
import { apiToken, serviceConfig, startLivekitStandIn, startService, temporaryDirectory } from './fixtures.ts';

it('the document has every route of the API, and no other', async () => {
  const directory = await temporaryDirectory();
  const config = serviceConfig(directory, 'http://127.0.0.1:1');
  const store = await openStore(config.database);
  const app = buildApp({ config, store, now: Date.now, logTo: { write: () => undefined } });
  const routes: string[] = [];
  app.addHook('onRoute', ({ method, url }) => void routes.push(`${String(method)} ${url}`));
  await app.ready();
  await app.close();
  await store.close();
  const served = routes.filter((one) => one.includes(' /api/v1/') && !one.startsWith('HEAD ')).map((one) => one.replace('/api/v1', ''));
  expect(served.toSorted()).toEqual(operations.map(({ method, path }) => `${method} ${path}`).toSorted());
});

it('is open to all, in the language that is asked for', async () => {
  const service = await startService((await startLivekitStandIn()).url);
  const { status, body } = await service.call('GET', '/api/docs', undefined, { authorization: '' });
  expect([status, body['openapi']]).toEqual([200, '3.1.0']);
  const summary = async (language: string): Promise<unknown> => {
    const { paths } = (await service.call('GET', '/api/docs', undefined, { 'accept-language': language })).body as {
      paths: Record<string, Record<string, { summary: string }>>;
    };
    return paths['/api/v1/rooms/{id}']?.['get']?.summary;
  };
  expect(await summary('zh-CN,zh;q=0.9,en;q=0.8')).toBe('查看房间');
  expect(await summary('fr, en;q=0.5, zh;q=0.3')).toBe('Shows a room');
});

it.each([
  ['zh-CN', apiProblems.ROOM_NOT_FOUND.zh, '没有房间 none'],
  ['de', apiProblems.ROOM_NOT_FOUND.en, 'There is no room none'],
])('problems are told in the language of %s', async (language, title, detail) => {
  const service = await startService((await startLivekitStandIn()).url);
  const headers = { authorization: `Bearer ${apiToken}`, 'accept-language': language };
  expect((await service.call('GET', '/api/v1/rooms/none', undefined, headers)).body).toMatchObject({ title, detail, code: 'ROOM_NOT_FOUND' });
});

it.each([
  ['zh', 'maxParticipants: 无效输入：期望 数字，实际接收 string; type: 无效选项：期望以下之一 "voice"|"video"; : 出现未知的键(key): "x"'],
  ['en', 'maxParticipants: Invalid input: expected number, received string; type: Invalid option: expected one of "voice"|"video"; : Unrecognized key: "x"'],
])('what is wrong with a request is told in the language of %s', async (language, detail) => {
  const service = await startService((await startLivekitStandIn()).url);
  const answer = await service.call('POST', '/api/v1/rooms', { maxParticipants: 'x', type: 'y', x: 1 }, { 'accept-language': language });
  expect(answer.body).toMatchObject({ code: 'BAD_REQUEST', detail });
});

it('says of every operation which scope it needs, and what end users may', async () => {
  const service = await startService((await startLivekitStandIn()).url);
  const { paths } = (await service.call('GET', '/api/docs', undefined, { authorization: '' })).body as {
    paths: Record<string, Record<string, { operationId: string; security: Array<Record<string, string[]>>; description?: string }>>;
  };
  const described = Object.values(paths).flatMap((methods) => Object.values(methods));
  expect(described.map(({ operationId }) => operationId).toSorted()).toEqual(operations.map(({ name }) => name).toSorted());
  expect(new Set(operations.map(({ name }) => name)).size).toBe(operations.length);
  for (const { operationId, security, description } of described) {
    const { scope, users } = operations.find(({ name }) => name === operationId) ?? {};
    expect(scopes).toContain(scope);
    expect([operationId, security]).toEqual([operationId, [{ token: [scope] }, ...(users === undefined ? [] : [{ user: [] }])]]);
    expect(description).toBe(users === undefined ? undefined : `End users: ${users.en}`);
  }
});

it('says of every operation that the database may not answer', async () => {
  const { paths } = openApiDocument('en') as { paths: Record<string, Record<string, { responses: Record<string, { description: string }> }>> };
  for (const { responses } of Object.values(paths).flatMap((methods) => Object.values(methods)))
    expect(responses['503']?.description).toContain('DATABASE_UNAVAILABLE');
});

it('what is asked at random is answered as the document says', async () => {
  const { url } = await startLivekitStandIn();
  const service = await startService(url);
  await service.call('POST', '/api/v1/rooms', { id: 'r1' });
  const values = ['r1', '', 0, -1, 1e9, true, null, [], {}, 'x'.repeat(300), '房间', '\u0000', { canPublish: 1 }, ['ann']];
  const wrong: string[] = [];
  for (const { method, path, query, body, status, problems } of operations) {
    const known = new Set([status, 400, 401, 403, 413, 415, 429, ...problems.map((code) => apiProblems[code].status)]);
    for (const [index, value] of values.entries()) {
      const names = Object.keys(body?.shape ?? {});
      const asked =
        body === undefined ? undefined : index === 0 ? value : Object.fromEntries(names.map((name, at) => [name, values[(index + at) % values.length]]));
      const search =
        query === undefined
          ? ''
          : `?${Object.keys(query.shape)
              .map((name) => `${name}=${encodeURIComponent(JSON.stringify(value))}`)
              .join('&')}`;
      const place = path
        .replace(':id', index % 2 === 0 ? 'r1' : encodeURIComponent(String(value)))
        .replace(/:(identity|token)/, encodeURIComponent(String(value)));
      const answer = await service.call(method, `/api/v1${place}${search}`, asked);
      // An empty part of a path leads elsewhere.
      if (!known.has(answer.status as never) && !(answer.status === 404 && place.includes('//')))
        wrong.push(`${method} ${place}${search} ${JSON.stringify(asked)}: ${answer.status}`);
    }
  }
  expect(wrong).toEqual([]);
});
