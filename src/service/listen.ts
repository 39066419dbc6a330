import { once } from 'node:events';
import type { Server } from 'node:http';
import { createServer } from 'node:net';
import type { FastifyInstance } from 'fastify';
import { isBeside } from './web.ts';

/** Opens the port on loopback, where Caddy, webhooks and health checks come, and on the address `bind`, which may be all (`0.0.0.0`). */
export async function listenOn(app: FastifyInstance, { bind, port }: { bind: string; port: number }): Promise<void> {
  if (bind === '0.0.0.0' || bind === '::' || bind === '127.0.0.1') {
    await app.listen({ host: bind, port });
    return;
  }
  const door = createServer({ noDelay: true }, (socket) => void app.server.emit('connection', socket));
  app.addHook('preClose', async () => void door.close());
  await app.listen({ host: '127.0.0.1', port });
  door.listen(port, bind);
  await once(door, 'listening');
}

/** Takes so many connections from elsewhere at a time: the others are Caddy's and LiveKit's, whatever anybody elsewhere holds open. */
export function limitOutsiders(server: Server, most: number): void {
  let count = 0;
  server.on('connection', (socket) => {
    if (isBeside(socket.remoteAddress)) return;
    if (count >= most) return void socket.destroy();
    count++;
    socket.once('close', () => count--);
  });
}
