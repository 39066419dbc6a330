import { createHmac, randomUUID } from 'node:crypto';
import { Agent, request } from 'node:http';
import { text } from 'node:stream/consumers';
import { messageBody, ROOMS } from './outgoing.ts';

/** The least that sends signed messages: `node:http`, an HMAC, no storage. Takes a port and a number; as many connections as the service has. */

const [port, count] = process.argv.slice(2).map(Number);
const agent = new Agent({ keepAlive: true, maxSockets: 32 });
await Promise.all(
  Array.from({ length: 32 }, async (_, lane) => {
    // Each its own rooms, so that the order is kept here too.
    for (let room = lane; room < ROOMS; room += 32) for (let turn = 0; turn < (count ?? 0) / ROOMS; turn++) await send(messageBody(room, turn));
  }),
);
agent.destroy();

async function send(body: string): Promise<void> {
  const [id, seconds] = [`msg_${randomUUID()}`, String(Math.floor(Date.now() / 1000))];
  const signature = createHmac('sha256', 'secret').update(`${id}.${seconds}.${body}`).digest('base64');
  const headers = {
    'content-type': 'application/json',
    'content-length': Buffer.byteLength(body),
    'webhook-id': id,
    'webhook-timestamp': seconds,
    'webhook-signature': `v1,${signature}`,
  };
  await new Promise<void>((done, fail) => {
    const sent = request({ host: '127.0.0.1', port, method: 'POST', path: '/hook', agent, headers }, (answer) => void text(answer).then(() => done(), fail));
    sent.once('error', fail);
    sent.end(body);
  });
}
