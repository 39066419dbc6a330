import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { onTestFinished } from 'vitest';
import { answerTo } from './stun-answer.ts';

/** A STUN server (RFC 8489) on loopback that sees everyone at `address`; ends with the test. */
export async function startStun(address: string): Promise<{ host: string; port: number }> {
  const socket = createSocket('udp4').bind(0, '127.0.0.1');
  onTestFinished(() => void socket.close());
  await once(socket, 'listening');
  socket.on('message', (request, from) => socket.send(answerTo(request, address), from.port, from.address));
  return { host: '127.0.0.1', port: socket.address().port };
}
