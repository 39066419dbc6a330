import { once } from 'node:events';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { expect, it, onTestFinished } from 'vitest';
import { request } from '../../src/meeting/network.ts';

/** A server that closes a connection as soon as something is asked on it for the second time, or at once. */
async function closing({ isAlways }: { isAlways: boolean }): Promise<{ url: string; asked: () => number }> {
  const used = new WeakSet<object>();
  let asked = 0;
  const server = createServer(({ socket }, answer) => {
    asked += 1;
    if (isAlways || used.has(socket)) return void socket.destroy();
    used.add(socket);
    answer.end('well');
  }).listen(0, '127.0.0.1');
  await once(server, 'listening');
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/`, asked: () => asked };
}

const { signal } = new AbortController();

it('sends a request once more whose connection was closed', async () => {
  const { url, asked } = await closing({ isAlways: false });
  for (const method of ['GET', 'POST', 'POST']) expect(await request(url, { method, signal })).toEqual({ status: 200, text: 'well' });
  expect(asked()).toBeGreaterThan(3);
});

it('says what is wrong where it is closed again', async () => {
  const { url, asked } = await closing({ isAlways: true });
  await expect(request(url, { signal })).rejects.toMatchObject({ message: expect.stringContaining('UND_ERR_SOCKET') });
  expect(asked()).toBe(2);
});
