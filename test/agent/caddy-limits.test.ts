import { once } from 'node:events';
import { request } from 'node:http';
import type { IncomingMessage } from 'node:http';
import type { Socket } from 'node:net';
import { setTimeout as pause } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { sendUnfinished } from '../unfinished-request.ts';
import { echoPath, serve, startGateway } from './caddy-fixture.ts';

const HOUR_GLASS_MS = 3_000;
/** The gateway's own time limits, shortened below the pause above. */
const shorten = (json: string): string =>
  json.replace('"read_timeout": "30s"', '"read_timeout": "2s"').replace('"read_header_timeout": "10s"', '"read_header_timeout": "1s"').replace('"2m"', '"1s"');

test('a request that does not come is not waited for', async () => {
  const SERVICE_PORT = await serve(echoPath());
  const { port } = await startGateway({ SERVICE_PORT }, shorten);
  const beginnings = ['POST /api/webhook HTTP/1.1\r\nhost: localhost\r\ncontent-length: 1000\r\n\r\n{', 'GET /api/healthz HTTP/1.1\r\nhost: loc'];
  for (const { ms } of await Promise.all(beginnings.map((one) => sendUnfinished(port, one)))) expect(ms).toBeLessThan(6_000);
});

test('an operator’s own service may be sent to for longer', async () => {
  const upstream = await serve(echoPath());
  const { port } = await startGateway({ BUSINESS_UPSTREAM: `127.0.0.1:${upstream}` }, shorten);
  const sending = request({ host: '127.0.0.1', port, method: 'POST', path: '/api/upload', headers: { 'content-length': 200_000 } });
  sending.write('x');
  await pause(HOUR_GLASS_MS);
  sending.end('x'.repeat(199_999));
  const [answer] = (await once(sending, 'response')) as [IncomingMessage];
  expect(answer.statusCode).toBe(200);
});

test.each(['/rtc/v1', '/n/m127-0-0-1/rtc/v1'])('a WebSocket at %s may open late and stay silent for longer than any of the limits', async (path) => {
  const server = echoPath();
  server.on('upgrade', (_request, socket) => {
    setTimeout(() => socket.write('HTTP/1.1 101 Switching Protocols\r\nconnection: Upgrade\r\nupgrade: websocket\r\n\r\n'), HOUR_GLASS_MS);
    socket.on('data', (chunk) => socket.write(chunk));
    socket.on('error', () => socket.destroy());
  });
  const { port } = await startGateway({ LIVEKIT_HTTP_PORT: await serve(server) }, shorten);
  const headers = { connection: 'Upgrade', upgrade: 'websocket', 'sec-websocket-version': '13', 'sec-websocket-key': 'dGhlIHNhbXBsZSBub25jZQ==' };
  const opening = request({ host: '127.0.0.1', port, path, headers });
  opening.end();
  const [, socket] = (await once(opening, 'upgrade')) as [IncomingMessage, Socket];
  await pause(HOUR_GLASS_MS);
  socket.write('still here');
  const [echo] = (await once(socket, 'data', { signal: AbortSignal.timeout(5_000) })) as [Buffer];
  expect(echo.toString('utf8')).toBe('still here');
  socket.destroy();
});

test('bodies are bounded where they go, and no lower than their takers take', async () => {
  const { port } = await startGateway({ SERVICE_PORT: await serve(echoPath()), LIVEKIT_HTTP_PORT: await serve(echoPath()) });
  const mib = 1024 * 1024;
  const limits: [string, number][] = [
    ['/api/webhook', mib],
    ['/api/v1/rooms', 64 * 1024],
    ['/twirp/livekit.RoomService/ListRooms', mib],
    ['/whip/v1', mib],
    ['/n/m127-0-0-1/whip/v1', mib],
  ];
  for (const [path, bytes] of limits) {
    const post = async (size: number): Promise<number> => (await fetch(`http://127.0.0.1:${port}${path}`, { method: 'POST', body: 'x'.repeat(size) })).status;
    expect([await post(bytes), await post(bytes + 1)], path).toEqual([200, 413]);
  }
});

test('a header as long as a token with the most metadata passes', async () => {
  const { port } = await startGateway({ LIVEKIT_HTTP_PORT: await serve(echoPath()) });
  const status = async (bytes: number): Promise<number> =>
    (await fetch(`http://127.0.0.1:${port}/twirp/x`, { headers: { authorization: 'x'.repeat(bytes) } })).status;
  expect([await status(150_000), await status(400_000)]).toEqual([200, 431]);
});
