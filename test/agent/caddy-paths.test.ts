import { connect } from 'node:net';
import { expect, test } from 'vitest';
import { echoPath, serve, startGateway } from './caddy-fixture.ts';

/** The answer's status and body; the path is sent as it stands, which `fetch` would not do. */
function get(port: number, path: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let text = '';
    const socket = connect({ host: '127.0.0.1', port, timeout: 5_000 }, () =>
      socket.write(`GET ${path} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer x\r\nconnection: close\r\n\r\n`),
    );
    socket.on('data', (chunk: Buffer) => (text += chunk.toString('utf8')));
    socket.on('timeout', () => socket.destroy(new Error('no answer')));
    socket.on('error', reject);
    socket.on('end', () => resolve(`${text.slice(9, 12)} ${text.slice(text.indexOf('\r\n\r\n') + 4)}`));
  });
}

test('a machine’s own path leads to what clients need, and to nothing else of LiveKit', async () => {
  const { port } = await startGateway({ LIVEKIT_HTTP_PORT: await serve(echoPath()) });
  const own = '/n/m127-0-0-1';
  for (const path of ['/rtc', '/rtc/v1', '/rtc/validate?x=1', '/rtc/v1/validate', '/whip/v1', '/whip/v1/r/p'])
    expect(await get(port, `${own}${path}`)).toBe(`200 ${path}`);
  const refused = [
    '/',
    '/metrics',
    '/agent',
    '/rtcx',
    '/twirp/livekit.RoomService/ListRooms',
    '/debug/pprof',
    '/rtc/../twirp/livekit.RoomService/ListRooms',
    '/rtc/%2e%2e/twirp/livekit.RoomService/ListRooms',
    '/rtc/..%2ftwirp/livekit.RoomService/ListRooms',
    '//twirp/livekit.RoomService/ListRooms',
  ];
  for (const path of refused) expect(await get(port, `${own}${path}`), path).toMatch(/^404 livekit-fleet/);
  expect(await get(port, '/n/another/rtc')).toBe('200 /rtc');
});
