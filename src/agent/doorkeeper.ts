import { createHmac, randomBytes } from 'node:crypto';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import type { Logger } from 'pino';
import { isSame, knockKey, prove, readPacket, writePacket } from '../contract/knock.ts';
import type { Claim, Packet } from '../contract/knock.ts';

/** A cookie is good for one period at least, and two at most. */
const COOKIE_PERIOD_MS = 10_000;

export interface DoorkeeperOptions {
  /** The address that other machines knock at. */
  readonly bind: string;
  readonly port: number;
  /** Of Redis. */
  readonly password: string;
  /** Asks for an address to be let in; true once it is. */
  readonly admit: (address: string) => Promise<boolean>;
  readonly monotonicMs: () => number;
  readonly log: Logger;
}

/** Lets machines in that prove that they know the fleet's secret; keeps nothing about those that do not. Gives a function that ends it. Rejects where the port cannot be had. */
export async function startDoorkeeper(options: DoorkeeperOptions): Promise<() => void> {
  const { bind, port, admit, monotonicMs, log } = options;
  const key = knockKey(options.password);
  const cookieKey = randomBytes(32);
  const socket = createSocket('udp4');
  const cookieFor = (address: string, period: number): string => createHmac('sha256', cookieKey).update(`${address} ${period}`).digest('hex');
  const proof = (kind: Claim, cookie: string): string => prove(key, kind, { cookie, door: bind });
  const isOurs = (cookie: string, address: string): boolean => {
    const period = Math.floor(monotonicMs() / COOKIE_PERIOD_MS);
    return isSame(cookie, cookieFor(address, period)) || isSame(cookie, cookieFor(address, period - 1));
  };
  const answer = async (packet: Packet, address: string): Promise<Packet | null> => {
    if (packet.kind === 'hello') return { kind: 'challenge', cookie: cookieFor(address, Math.floor(monotonicMs() / COOKIE_PERIOD_MS)) };
    if (packet.kind !== 'proof' || !isOurs(packet.cookie, address) || !isSame(packet.mac, proof('proof', packet.cookie))) return null;
    const kind = (await admit(address)) ? 'welcome' : 'wait';
    return { kind, mac: proof(kind, packet.cookie) };
  };
  socket.on('message', (bytes, from) => {
    const packet = readPacket(bytes);
    if (packet === null) return;
    answer(packet, from.address).then(
      (reply) => reply !== null && socket.send(writePacket(reply), from.port, from.address, () => undefined),
      (error: unknown) => log.error({ err: error }, 'knock not answered'),
    );
  });
  socket.bind(port, bind);
  await once(socket, 'listening');
  socket.on('error', (error) => log.error({ err: error }, 'doorkeeper'));
  return () => socket.close();
}
