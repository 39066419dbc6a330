import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { AccessToken } from 'livekit-server-sdk';

/** The least that gives out tokens: `node:http`, LiveKit's own SDK, no storage, no check. Writes its port. */

const server = createServer(async (request, response) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request as AsyncIterable<Buffer>) chunks.push(chunk);
  const { identity = 'somebody' } = JSON.parse(Buffer.concat(chunks).toString('utf8')) as { identity?: string };
  const token = new AccessToken('key', 'secret-that-is-long-enough-for-livekit', { identity, ttl: 3600 });
  token.addGrant({ roomJoin: true, room: 'bench' });
  const text = JSON.stringify({ token: await token.toJwt() });
  response.writeHead(200, { 'content-type': 'application/json', 'content-length': Buffer.byteLength(text) }).end(text);
});
server.listen(0, '127.0.0.1', () => process.stdout.write(`${(server.address() as AddressInfo).port}\n`));
