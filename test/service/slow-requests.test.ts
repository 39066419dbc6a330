import { expect, it } from 'vitest';
import { sendUnfinished } from '../unfinished-request.ts';
import { apiToken, sign, startService } from './fixtures.ts';

const nowhere = 'http://127.0.0.1:1';

const head = (path: string, authorization: string): string =>
  `POST ${path} HTTP/1.1\r\nhost: service\r\nauthorization: ${authorization}\r\ncontent-type: application/json\r\ncontent-length: 60000\r\n\r\n{`;

it.each(['/api/webhook', '/api/v1/rooms'])('who may not call %s is refused before the body comes, and the connection is closed', async (path) => {
  const port = await (await startService(nowhere)).listen();
  const { text, ms } = await sendUnfinished(port, head(path, 'a.b.c'));
  expect(text).toMatch(/^HTTP\/1.1 401 /);
  expect(ms).toBeLessThan(2_000);
});

it('what does not come is waited for 10 s at most', async () => {
  const port = await (await startService(nowhere)).listen();
  const beginnings = [head('/api/webhook', await sign('{}')), head('/api/v1/rooms', `Bearer ${apiToken}`), 'POST /api/webhook HTTP/1.1\r\nhost: service\r\n'];
  for (const { text, ms } of await Promise.all(beginnings.map((one) => sendUnfinished(port, one)))) {
    expect(text).toMatch(/^HTTP\/1.1 408 /);
    expect(ms).toBeLessThan(13_000);
  }
});
