import { createSocket } from 'node:dgram';
import { isSame, knockKey, prove, readPacket, writePacket } from '../contract/knock.ts';
import type { Claim } from '../contract/knock.ts';

export type Answer = 'welcome' | 'refused' | 'silent';

/** A packet may be lost, and the other machine's firewall takes a second to open. */
const RETRY_MS = 300;
/** Where nobody answers by then, nobody listens. */
const SILENCE_MS = 1_500;
/** Who has not shown by then that it knows the secret knows another one. */
const PROOF_MS = 5_000;
/** A machine under load may need this long to open its firewall. */
const OPEN_MS = 20_000;

/**
 * Shows the agent at an address that this machine knows the fleet's secret; `welcome` where that one knows it too and its firewall
 * lets this machine in (or has had the time to), `refused` where it knows another secret, `silent` where no agent answers. Throws nothing.
 */
export async function knock(options: { host: string; port: number; password: string }): Promise<Answer> {
  const { host, port, password } = options;
  const key = knockKey(password);
  const socket = createSocket('udp4');
  const { promise, resolve } = Promise.withResolvers<Answer>();
  const cookies = new Set<string>();
  const proof = (kind: Claim, cookie: string): string => prove(key, kind, { cookie, door: socket.remoteAddress().address });
  let isProved = false;
  const send = (packet: Buffer): void => socket.send(packet, () => undefined);
  socket.on('message', (bytes) => {
    const packet = readPacket(bytes);
    if (packet?.kind === 'challenge') {
      cookies.add(packet.cookie);
      send(writePacket({ kind: 'proof', cookie: packet.cookie, mac: proof('proof', packet.cookie) }));
    }
    if (packet?.kind !== 'welcome' && packet?.kind !== 'wait') return;
    if (![...cookies].some((cookie) => isSame(packet.mac, proof(packet.kind, cookie)))) return;
    isProved = true;
    if (packet.kind === 'welcome') resolve('welcome');
  });
  // Nobody listens there, or the name leads nowhere.
  socket.on('error', () => resolve('silent'));
  let retry: NodeJS.Timeout | undefined;
  const silence = setTimeout(() => {
    if (cookies.size === 0) resolve('silent');
  }, SILENCE_MS);
  const doubt = setTimeout(() => {
    if (!isProved) resolve('refused');
  }, PROOF_MS);
  const end = setTimeout(() => resolve('welcome'), OPEN_MS);
  socket.connect(port, host, () => {
    const hello = writePacket({ kind: 'hello' });
    send(hello);
    retry = setInterval(() => send(hello), RETRY_MS);
  });
  try {
    return await promise;
  } finally {
    clearTimeout(silence);
    clearTimeout(doubt);
    clearTimeout(end);
    clearInterval(retry);
    socket.close();
  }
}
