import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { expect, it } from 'vitest';
import { parseListeners, readListeners } from '../../src/host/listeners.ts';

it('finds what this process listens on, with its user, protocol and reach', async () => {
  const [near, far] = [createServer().listen(0, '127.0.0.1'), createServer().listen(0, '127.0.0.9')];
  const everywhere = createServer().listen(0);
  const datagrams = createSocket('udp4').bind(0);
  try {
    await Promise.all([near, far, everywhere, datagrams].map((one) => once(one, 'listening')));
    const found = readListeners();
    const uid = process.getuid?.();
    expect(found).toContainEqual({ protocol: 'tcp', port: port(near), uid, isOnLoopback: true });
    expect(found).toContainEqual({ protocol: 'tcp', port: port(far), uid, isOnLoopback: false });
    expect(found).toContainEqual({ protocol: 'tcp', port: port(everywhere), uid, isOnLoopback: true });
    expect(found).toContainEqual({ protocol: 'udp', port: port(datagrams), uid, isOnLoopback: true });
  } finally {
    for (const one of [near, far, everywhere, datagrams]) one.close();
  }
});

it('leaves out connections', () => {
  const text = [
    '  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode',
    '   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000   999        0 1 1 0000000000000000 100 0 0 10 0',
    '   1: 0100007F:1F91 0100007F:D431 01 00000000:00000000 00:00000000 00000000   999        0 2 1 0000000000000000 20 4 0 10 -1',
  ].join('\n');
  expect(parseListeners(text, { protocol: 'tcp', state: '0A' })).toEqual([{ protocol: 'tcp', port: 8080, uid: 999, isOnLoopback: true }]);
});

function port(server: { address(): unknown }): number {
  return (server.address() as AddressInfo).port;
}
