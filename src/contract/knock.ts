import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto';
import * as z from 'zod';

/** Redis hash: IPv4 address of a machine of the fleet → when it was last heard of, in milliseconds by Redis TIME. */
export const MEMBERS_KEY = 'fleet:members';

/**
 * How a machine shows another one that it belongs to the fleet, in four UDP packets, before that one's firewall lets it in:
 * hello, challenge, proof, welcome. The challenge comes to the address that asked, so a proof cannot come from a forged address or be used
 * again from another one; no clocks are compared. Both proofs name the address that was knocked at, so that whoever holds it cannot pass
 * them on to another machine's. The answer is proof of the same secret: welcome once the firewall has opened, wait until then.
 */
export type Packet =
  | { kind: 'hello' }
  | { kind: 'challenge'; cookie: string }
  | { kind: 'proof'; cookie: string; mac: string }
  | { kind: 'wait' | 'welcome'; mac: string };
/** What is proved with the key. */
export type Claim = 'proof' | 'wait' | 'welcome';

const PREFIX = 'lkfleet1';
/** No answer is longer than what is asked with: nobody gains by asking in another one's name. */
const HELLO_BYTES = 160;
const HEX = z.string().regex(/^[0-9a-f]{64}$/);

/** The key of proofs. @param password of Redis, which all machines of the fleet know */
export function knockKey(password: string): Buffer {
  return Buffer.from(hkdfSync('sha256', password, 'livekit-fleet', 'knock', 32));
}

/** Shows knowledge of the key for this cookie. @param door address that was knocked at */
export function prove(key: Buffer, kind: Claim, { cookie, door }: { cookie: string; door: string }): string {
  return createHmac('sha256', key).update(`${kind} ${cookie} ${door}`).digest('hex');
}

/** Compares two texts of 64 hex digits in a time that tells nothing. */
export function isSame(one: string, other: string): boolean {
  return timingSafeEqual(Buffer.from(one, 'hex'), Buffer.from(other, 'hex'));
}

export function writePacket(packet: Packet): Buffer {
  switch (packet.kind) {
    case 'hello':
      return Buffer.from(`${PREFIX} hello`.padEnd(HELLO_BYTES));
    case 'challenge':
      return Buffer.from(`${PREFIX} challenge ${packet.cookie}`);
    case 'proof':
      return Buffer.from(`${PREFIX} proof ${packet.cookie} ${packet.mac}`);
    case 'wait':
    case 'welcome':
      return Buffer.from(`${PREFIX} ${packet.kind} ${packet.mac}`);
  }
}

/** Null for anything that is no packet of ours. Throws nothing. */
export function readPacket(bytes: Buffer): Packet | null {
  const [prefix, kind, first, second, ...rest] = bytes.toString('latin1').trimEnd().split(' ');
  if (prefix !== PREFIX || rest.length > 0) return null;
  if (kind === 'hello') return bytes.length === HELLO_BYTES && first === undefined ? { kind } : null;
  const isHex = HEX.safeParse(first).success;
  if (kind === 'proof') return isHex && HEX.safeParse(second).success ? { kind, cookie: first ?? '', mac: second ?? '' } : null;
  if (!isHex || second !== undefined) return null;
  if (kind === 'challenge') return { kind, cookie: first ?? '' };
  return kind === 'wait' || kind === 'welcome' ? { kind, mac: first ?? '' } : null;
}
