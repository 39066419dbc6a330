import { once } from 'node:events';
import { createServer } from 'node:net';
import type { FastifyInstance } from 'fastify';

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
