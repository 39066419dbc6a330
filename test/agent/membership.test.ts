import { execa } from 'execa';
import { createSocket } from 'node:dgram';
import { once } from 'node:events';
import { readFile, writeFile } from 'node:fs/promises';
import type { AddressInfo } from 'node:net';
import { createServer } from 'node:net';
import { Redis } from 'ioredis';
import { describe, expect, inject, it, onTestFinished } from 'vitest';
import { globSync } from 'node:fs';
import { startDoorkeeper } from '../../src/agent/doorkeeper.ts';
import { startMembership } from '../../src/agent/membership.ts';
import { knock } from '../../src/clients/knock.ts';
import { MEMBERS_KEY, knockKey, prove, readPacket, writePacket } from '../../src/contract/knock.ts';
import { silentLog, temporaryDirectory, until } from './fixtures.ts';

const password = 'the-fleet-s-own-password';
const monotonicMs = (): number => performance.now();

async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  server.close();
  await once(server, 'close');
  return port;
}

/** A doorkeeper on loopback; `after` is how often an address has to ask before the firewall has opened. */
async function openDoor({ after = 1 } = {}): Promise<{ port: number; asked: string[] }> {
  const asked: string[] = [];
  const port = await freePort();
  const admit = (address: string): Promise<boolean> => Promise.resolve(asked.push(address) >= after);
  onTestFinished(await startDoorkeeper({ bind: '127.0.0.1', port, password, admit, monotonicMs, log: silentLog }));
  return { port, asked };
}

/** Sends packets from an address of this machine, one after the other, and gives the answers. */
async function talk(port: number, from: string, packets: readonly Buffer[]): Promise<Buffer[]> {
  const socket = createSocket('udp4');
  const answers: Buffer[] = [];
  socket.on('message', (bytes) => answers.push(bytes));
  socket.bind(0, from);
  await once(socket, 'listening');
  for (const packet of packets) socket.send(packet, port, '127.0.0.1');
  // The last answer is that to a hello, which always comes.
  socket.send(writePacket({ kind: 'hello' }), port, '127.0.0.1');
  await until(() => expect(answers.some((bytes) => readPacket(bytes)?.kind === 'challenge')).toBe(true));
  socket.close();
  return answers;
}

describe('a knock', () => {
  it('lets in who knows the secret, once the firewall has opened', async () => {
    const door = await openDoor({ after: 3 });
    expect(await knock({ host: '127.0.0.1', port: door.port, password })).toBe('welcome');
    expect(door.asked).toEqual(['127.0.0.1', '127.0.0.1', '127.0.0.1']);
  });

  it('lets nobody in with another secret, and says nothing where nobody listens', async () => {
    const door = await openDoor();
    const [wrong, deaf] = await Promise.all([
      knock({ host: '127.0.0.1', port: door.port, password: 'another' }),
      knock({ host: '127.0.0.1', port: await freePort(), password }),
    ]);
    expect([wrong, deaf]).toEqual(['refused', 'silent']);
    expect(door.asked).toEqual([]);
  });

  it('is worth nothing from another address, and answers no more than it was asked with', async () => {
    const door = await openDoor();
    const hello = writePacket({ kind: 'hello' });
    const [challenge = Buffer.alloc(0)] = await talk(door.port, '127.0.0.1', []);
    const packet = readPacket(challenge);
    const cookie = packet?.kind === 'challenge' ? packet.cookie : '';
    const proofFor = (where: string): Buffer => writePacket({ kind: 'proof', cookie, mac: prove(knockKey(password), 'proof', { cookie, door: where }) });
    const proof = proofFor('127.0.0.1');
    expect(challenge.length).toBeLessThanOrEqual(hello.length);
    const stolen = await talk(door.port, '127.0.0.2', [proof]);
    expect(stolen.map((bytes) => readPacket(bytes)?.kind)).toEqual(['challenge']);
    const passedOn = await talk(door.port, '127.0.0.1', [proofFor('127.0.0.9')]);
    expect(passedOn.map((bytes) => readPacket(bytes)?.kind)).toEqual(['challenge']);
    expect(door.asked).toEqual([]);
    await talk(door.port, '127.0.0.1', [proof]);
    expect(door.asked).toEqual(['127.0.0.1']);
  });

  it('is not disturbed by other packets', async () => {
    const door = await openDoor();
    const bad = [
      '',
      'lkfleet1 hello',
      'lkfleet1 proof',
      `lkfleet1 proof ${'0'.repeat(64)} ${'g'.repeat(64)}`,
      `lkfleet1 welcome ${'0'.repeat(64)}`,
      '\0'.repeat(9000),
    ];
    const answers = await talk(
      door.port,
      '127.0.0.1',
      bad.map((text) => Buffer.from(text)),
    );
    expect(answers.length).toBe(1);
    expect(door.asked).toEqual([]);
  });
});

async function startRedis(): Promise<{ redis: Redis; stop: () => void }> {
  const program = globSync(`${inject('componentStore')}/redis/*/bin/redis-server`)[0] ?? '';
  const port = await freePort();
  const server = execa(program, ['--port', String(port), '--bind', '127.0.0.1', '--save', ''], { reject: false, stdio: 'ignore' });
  const redis = new Redis({ host: '127.0.0.1', port, enableOfflineQueue: false, retryStrategy: () => 50 });
  redis.on('error', () => undefined);
  onTestFinished(async () => {
    redis.disconnect();
    server.kill('SIGKILL');
    await server;
  });
  await until(() => expect(redis.status).toBe('ready'));
  return { redis, stop: () => void server.kill('SIGKILL') };
}

async function join(own: string, redis: Redis, more: { now?: () => number; knocked?: string[] } = {}) {
  const folder = await temporaryDirectory();
  const firewall = { membersFile: `${folder}/members`, appliedFile: `${folder}/applied` };
  const start = () =>
    startMembership({
      own,
      peers: ['10.0.0.9'],
      firewall,
      redis,
      knock: (host) => Promise.resolve((more.knocked ?? []).push(host) > 0),
      log: silentLog,
      monotonicMs: more.now ?? monotonicMs,
    });
  const membership = await start();
  onTestFinished(() => membership.stop());
  return { ...membership, ...firewall, members: async () => (await readFile(firewall.membersFile, 'utf8').catch(() => '')).trim().split('\n') };
}

describe('membership', () => {
  it('tells every machine whom one of them has let in, and waits for the firewall', async () => {
    const { redis } = await startRedis();
    const [one, two] = [await join('10.0.0.1', redis), await join('10.0.0.2', redis)];
    expect(await one.admit('10.0.0.3')).toBe(false);
    await writeFile(one.appliedFile, '10.0.0.3\n');
    expect(await one.admit('10.0.0.3')).toBe(true);
    await until(async () => expect(await two.members()).toEqual(['10.0.0.1', '10.0.0.2', '10.0.0.3']));
  });

  it('waits for a firewall that only starts, and for no other: where no rules are in force for long, whoever knocks is in', async () => {
    const { redis } = await startRedis();
    let nowMs = 0;
    const one = await join('10.0.0.1', redis, { now: () => nowMs });
    expect(await one.admit('10.0.0.3')).toBe(false);
    nowMs = 16_000;
    expect(await one.admit('10.0.0.3')).toBe(true);
    // Rules that are in force without it are another matter.
    await writeFile(one.appliedFile, '10.0.0.2\n');
    expect(await one.admit('10.0.0.3')).toBe(false);
  });

  it('keeps whom it knows while Redis is away, and knocks then', async () => {
    const { redis, stop } = await startRedis();
    const knocked: string[] = [];
    const one = await join('10.0.0.1', redis, { knocked });
    await one.admit('10.0.0.3');
    await until(async () => expect(await redis.hget(MEMBERS_KEY, '10.0.0.3')).not.toBeNull());
    const before = knocked.filter((host) => host === '10.0.0.9').length;
    stop();
    await until(() => expect(knocked.filter((host) => host === '10.0.0.9').length).toBeGreaterThan(before + 1));
    expect(knocked).toContain('10.0.0.3');
    expect(await one.members()).toContain('10.0.0.3');
  });

  it('forgets who was not heard of for a week, but not right after an outage', async () => {
    const { redis } = await startRedis();
    const twoDaysAgo = Date.now() - 2 * 24 * 60 * 60_000;
    await redis.hset(MEMBERS_KEY, '10.0.0.7', '1', '10.0.0.8', String(twoDaysAgo), 'nonsense', '1');
    let skippedMs = 0;
    const one = await join('10.0.0.1', redis, { now: () => performance.now() + skippedMs });
    await one.admit('10.0.0.7');
    await until(async () => expect(await one.members()).toEqual(['10.0.0.1', '10.0.0.7', '10.0.0.8']));
    await until(async () => expect(Number(await redis.hget(MEMBERS_KEY, '10.0.0.7'))).toBeGreaterThan(1));
    await redis.hset(MEMBERS_KEY, '10.0.0.7', '1');
    skippedMs = 61_000;
    await until(async () => expect(await one.members()).toEqual(['10.0.0.1', '10.0.0.8']));
    expect(await redis.hget(MEMBERS_KEY, '10.0.0.7')).toBeNull();
  });
});
