import { createServer } from 'node:net';
import type { AddressInfo, Socket } from 'node:net';
import { expect, onTestFinished, test } from 'vitest';
import { connectFleetRedis } from '../../src/clients/redis.ts';
import { until } from './fixtures.ts';
import { startRedis } from './redis.ts';

/** Says where the primary is as soon as it may (RESP3); whoever listens can be told of a replacement. */
async function startSentinel(
  primary: number,
  host = '127.0.0.1',
): Promise<{ port: number; hold: () => () => void; asked: () => number; announce: () => boolean }> {
  const listeners = new Set<Socket>();
  let [asked, open] = [0, Promise.resolve()];
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('close', () => listeners.delete(socket));
    socket.on('data', async (bytes) => {
      for (const command of bytes.toString().split(/(?=\*\d+\r\n)/)) {
        const words = command.split('\r\n').filter((_line, index) => index % 2 === 0 && index > 0);
        if (/^subscribe$/i.test(words[0] ?? '')) {
          listeners.add(socket);
          socket.write('>3\r\n$9\r\nsubscribe\r\n$14\r\n+switch-master\r\n:1\r\n');
        } else if (words[1] === 'get-master-addr-by-name') {
          asked += 1;
          await open;
          socket.write(`*2\r\n$9\r\n127.0.0.1\r\n$${String(primary).length}\r\n${primary}\r\n`);
        } else socket.write(words[1] === 'sentinels' ? '*0\r\n' : '+OK\r\n');
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, host, resolve));
  onTestFinished(() => void server.close());
  return {
    port: (server.address() as AddressInfo).port,
    hold() {
      const { promise, resolve } = Promise.withResolvers<void>();
      open = promise;
      return resolve;
    },
    asked: () => asked,
    announce() {
      for (const socket of listeners) socket.write('>3\r\n$7\r\nmessage\r\n$14\r\n+switch-master\r\n$1\r\nx\r\n');
      return listeners.size > 0;
    },
  };
}

test('a connection that is being made while a replacement is announced is made all the same', async () => {
  const redis = (await startRedis()).connect();
  const sentinel = await startSentinel(redis.options.port ?? 0);
  const config = { sentinels: [{ host: '127.0.0.1', port: sentinel.port }], masterName: 'livekit', password: '', direct: null };
  const connection = connectFleetRedis(config);
  const states: string[] = [];
  connection.on('end', () => states.push('end'));
  onTestFinished(() => connection.disconnect());
  await until(() => expect(connection.status).toBe('ready'));
  const release = sentinel.hold();
  const asked = sentinel.asked();
  await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await until(() => expect(sentinel.asked()).toBeGreaterThan(asked));
  expect(sentinel.announce()).toBe(true);
  await until(() => expect(connection.status).toBe('connecting'));
  release();
  await until(() => expect(states).toContain('end'));
  await until(() => expect(connection.status).toBe('ready'));
  connection.disconnect();
  await until(() => expect(states.length).toBeGreaterThan(1));
  expect(connection.status).toBe('end');
});

test('a primary that vanished is left as soon as its replacement is announced', async () => {
  const vanished = await startRedis();
  const { port = 0 } = vanished.connect().options;
  const sentinel = await startSentinel(port);
  const connection = connectFleetRedis({ sentinels: [{ host: '127.0.0.1', port: sentinel.port }], masterName: 'livekit', password: '', direct: null });
  onTestFinished(() => connection.disconnect());
  await until(() => expect(connection.status).toBe('ready'));
  vanished.freeze();
  const [asked, atMs] = [sentinel.asked(), performance.now()];
  await until(() => expect(sentinel.announce()).toBe(true));
  await until(() => expect(sentinel.asked()).toBeGreaterThan(asked));
  // Else after two seconds, or three of silence.
  expect(performance.now() - atMs).toBeLessThan(1_500);
});

test('of the Sentinels the one on the machine that was lost is asked last', async () => {
  const redis = (await startRedis()).connect();
  const { port = 0 } = redis.options;
  const [lost, other] = [await startSentinel(port), await startSentinel(port, '127.0.0.2')];
  const sentinels = [
    { host: '127.0.0.1', port: lost.port },
    { host: '127.0.0.2', port: other.port },
  ];
  const connection = connectFleetRedis({ sentinels, masterName: 'livekit', password: '', direct: null });
  onTestFinished(() => connection.disconnect());
  await until(() => expect(connection.status).toBe('ready'));
  const before = lost.asked();
  expect(other.asked()).toBe(0);
  await redis.call('CLIENT', 'KILL', 'TYPE', 'normal', 'SKIPME', 'yes');
  await until(() => expect(other.asked()).toBeGreaterThan(0));
  await until(() => expect(connection.status).toBe('ready'));
  expect(lost.asked()).toBe(before);
});

test('a Redis that has loaded its data is used at once, however long it said that it would take', async () => {
  let asked = 0;
  const server = createServer((socket) => {
    socket.on('error', () => undefined);
    socket.on('data', (bytes) => {
      for (const command of bytes.toString().split(/(?=\*\d+\r\n)/)) {
        const isInfo = /\r\ninfo\r\n/i.test(command);
        asked += isInfo ? 1 : 0;
        const info = asked < 3 ? 'loading:1\r\nloading_eta_seconds:30\r\n' : 'loading:0\r\n';
        socket.write(isInfo ? `$${info.length}\r\n${info}\r\n` : '+OK\r\n');
      }
    });
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  onTestFinished(() => void server.close());
  const { port } = server.address() as AddressInfo;
  const redis = connectFleetRedis({ sentinels: [], masterName: '', password: '', direct: { host: '127.0.0.1', port } });
  onTestFinished(() => redis.disconnect());
  const began = performance.now();
  await new Promise<void>((resolve) => redis.once('ready', resolve));
  expect(asked).toBe(3);
  expect(performance.now() - began).toBeLessThan(3_000);
});
