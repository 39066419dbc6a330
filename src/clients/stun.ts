import { createSocket } from 'node:dgram';
import { randomBytes } from 'node:crypto';

/** RFC 8489, sections 5 and 14.2. */
const BINDING_REQUEST = 0x0001;
const BINDING_SUCCESS = 0x0101;
const MAGIC_COOKIE = 0x2112a442;
const XOR_MAPPED_ADDRESS = 0x0020;
const HEADER_BYTES = 20;
const IPV4 = 1;
/** A datagram may be lost: it is sent again this often. */
const REPEAT_MS = 300;

/**
 * The IPv4 address under which a STUN server sees this machine.
 * Rejects where no answer comes within `timeoutMs`.
 */
export async function askStun({ host, port }: { host: string; port: number }, timeoutMs: number): Promise<string> {
  const socket = createSocket('udp4');
  const request = Buffer.alloc(HEADER_BYTES);
  request.writeUInt16BE(BINDING_REQUEST, 0);
  request.writeUInt32BE(MAGIC_COOKIE, 4);
  const transaction = randomBytes(12);
  transaction.copy(request, 8);
  const send = (): void => socket.send(request, port, host, (error) => (error === null ? undefined : socket.emit('error', error)));
  const repeat = setInterval(send, REPEAT_MS);
  try {
    return await new Promise<string>((resolve, reject) => {
      const timer = setTimeout(() => reject(new Error(`${host}:${port} does not answer`)), timeoutMs);
      socket.on('error', (error) => {
        clearTimeout(timer);
        reject(error);
      });
      socket.on('message', (answer) => {
        const address = mappedAddress(answer, transaction);
        if (address === null) return;
        clearTimeout(timer);
        resolve(address);
      });
      send();
    });
  } finally {
    clearInterval(repeat);
    socket.close();
  }
}

/** The address in an answer to the request with this transaction id; null where it is none. */
export function mappedAddress(answer: Buffer, transaction: Buffer): string | null {
  if (answer.length < HEADER_BYTES || answer.readUInt16BE(0) !== BINDING_SUCCESS || !answer.subarray(8, HEADER_BYTES).equals(transaction)) return null;
  for (let at = HEADER_BYTES; at + 4 <= answer.length;) {
    const [kind, length] = [answer.readUInt16BE(at), answer.readUInt16BE(at + 2)];
    const value = answer.subarray(at + 4, at + 4 + length);
    if (kind === XOR_MAPPED_ADDRESS && value.length === 8 && value[1] === IPV4) {
      const bits = (value.readUInt32BE(4) ^ MAGIC_COOKIE) >>> 0;
      return [24, 16, 8, 0].map((shift) => (bits >>> shift) & 0xff).join('.');
    }
    // Attributes are padded to four bytes.
    at += 4 + Math.ceil(length / 4) * 4;
  }
  return null;
}
