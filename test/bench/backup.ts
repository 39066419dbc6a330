import { execa } from 'execa';
import { Redis } from 'ioredis';
import { globSync } from 'node:fs';
import { mkdir, readFile, rm, stat } from 'node:fs/promises';
import { DatabaseSync } from 'node:sqlite';
import { freePorts, until } from '../e2e/installation.ts';
import * as z from 'zod';
import { withInstallation } from './bench-installation.ts';
import type { BenchInstallation } from './bench-installation.ts';
import type { Row } from './table.ts';

export interface BackupBenchOptions {
  readonly rounds: number;
  /** Component store that holds everything already; null: one is filled first. */
  readonly store: string | null;
  readonly signal: AbortSignal;
  readonly say: (text: string) => void;
}

/** 1 GB of values of 1 KB, and a million webhooks. */
const KEYS = 1_000_000;
const EVENTS = 1_000_000;
const BATCH = 10_000;
const LOADED_MS = 300_000;

/**
 * Backup and restore of a machine with 1 GB in Redis and a million webhook rows, beside `redis-cli --rdb` and `tar` of the same data, and
 * beside `tar -x` and a Redis that loads what came out. Ours compresses, takes checksums and counts, and a restore is proved before it begins.
 */
export async function benchBackup({ rounds, store, signal, say }: BackupBenchOptions): Promise<Row[]> {
  return withInstallation(store, async (bench) => {
    say('preparing: a machine with 1 GB in Redis and a million webhooks');
    await bench.timed(['deploy']);
    await fillRedis(bench, signal);
    fillDatabase(bench);
    const ours = { backup: [] as number[], proved: [] as number[], restore: [] as number[], away: [] as number[] };
    const floor = { backup: [] as number[], restore: [] as number[], proved: [] as number[] };
    const folder = `${bench.place.folder}/kept`;
    await mkdir(folder);
    for (let round = 1; round <= rounds; round++) {
      signal.throwIfAborted();
      await rm(folder, { recursive: true });
      await mkdir(folder);
      floor.backup.push(await seconds(() => floorBackup(bench, folder)));
      ours.backup.push(await bench.timed(['backup', '--to', `${folder}/ours`]));
      const [archive = ''] = globSync(`${folder}/ours/*.tar.zst`);
      const [size, tar] = await Promise.all([archive, `${folder}/all.tar`].map(async (path) => (await stat(path)).size / 1e6));
      const { bare, proved } = await floorRestore(bench, folder);
      floor.restore.push(bare);
      floor.proved.push(proved);
      const began = performance.now();
      const { code, out, err } = await bench.place.run(['restore', archive, '--yes', '--json']);
      ours.restore.push((performance.now() - began) / 1000);
      if (code !== 0) throw new Error(`restore ended with ${code}: ${err}`);
      ours.away.push(awaySchema.parse(JSON.parse(out.trim().split('\n').at(-1) ?? '')).awaySeconds);
      await rm(`${folder}/ours`, { recursive: true });
      ours.proved.push(await bench.timed(['backup', '--verify', '--to', `${folder}/proved`]));
      say(
        `round ${round}: backup ${last(ours.backup)} s, ${size?.toFixed(0)} MB (bare ${last(floor.backup)} s, ${tar?.toFixed(0)} MB), restore ${last(ours.restore)} s (bare and proved ${last(floor.proved)} s), parts away ${last(ours.away)} s (bare ${last(floor.restore)} s), proved backup ${last(ours.proved)} s`,
      );
    }
    return [
      { name: 'backup, 1 GB of Redis and a million webhooks', unit: 's', ours: ours.backup, floor: floor.backup, limit: { times: 1.3 } },
      { name: 'restore of the same: parts away', unit: 's', ours: ours.away, floor: floor.restore, limit: { times: 1.3 } },
      { name: 'restore of the same, proved first', unit: 's', ours: ours.restore, floor: floor.proved, limit: { times: 1.3 } },
    ];
  });
}

const awaySchema = z.object({ awaySeconds: z.number() });

function last(list: readonly number[]): string {
  return (list.at(-1) ?? 0).toFixed(1);
}

async function seconds(work: () => Promise<unknown>): Promise<number> {
  const began = performance.now();
  await work();
  return (performance.now() - began) / 1000;
}

async function passwordOf({ place }: BenchInstallation): Promise<string> {
  return /^REDIS_PASSWORD=(.*)$/m.exec(await readFile(place.envFile, 'utf8'))?.[1] ?? '';
}

/** Text that compresses about as well as protobuf records with names and ids in them. */
function valueOf(number: number): string {
  let text = '';
  for (let part = 0; text.length < 1_000; part++) text += `PA_${((number * 2_654_435_761 + part * 40_503) % 4_294_967_296).toString(36)} identity-${number} `;
  return text.slice(0, 1_000);
}

async function fillRedis(bench: BenchInstallation, signal: AbortSignal): Promise<void> {
  const redis = new Redis({ host: '127.0.0.1', port: bench.place.ports['REDIS_PORT'] ?? 0, password: await passwordOf(bench) });
  for (let number = 0; number < KEYS; number += BATCH) {
    signal.throwIfAborted();
    const pairs = Array.from({ length: BATCH }, (_, index) => [`egress:${number + index}`, valueOf(number + index)]);
    await redis.mset(...pairs.flat());
  }
  redis.disconnect();
}

function fillDatabase({ data }: BenchInstallation): void {
  using db = new DatabaseSync(`${data}/state/service/service.db`);
  const add = db.prepare("INSERT INTO events (at, id, room, room_key, event, identity, received_at, body) VALUES (?, ?, ?, 0, 'participant_joined', ?, ?, ?)");
  db.exec('BEGIN IMMEDIATE');
  for (let number = 0; number < EVENTS; number++)
    add.run(
      number,
      `EV_${number}`,
      `room-${number % 1_000}`,
      `identity-${number}`,
      number,
      JSON.stringify({ event: 'participant_joined', participant: valueOf(number).slice(0, 500) }),
    );
  db.exec('COMMIT');
  db.exec('PRAGMA wal_checkpoint(TRUNCATE)');
}

/** One of Redis's programs in the component store. */
async function programOf({ place }: BenchInstallation, name: string): Promise<string> {
  const store = /^COMPONENT_DIR=(.*)$/m.exec(await readFile(place.envFile, 'utf8'))?.[1] ?? '';
  return globSync(`${store}/redis/*/bin/${name}`)[0] ?? '';
}

/** What a person would do by hand. */
async function floorBackup(bench: BenchInstallation, folder: string): Promise<void> {
  const cli = await programOf(bench, 'redis-cli');
  const words = ['-p', String(bench.place.ports['REDIS_PORT']), '--no-auth-warning', '--rdb', `${folder}/dump.rdb`];
  await execa(cli, words, { env: { REDISCLI_AUTH: await passwordOf(bench) } });
  await execa('tar', ['-cf', `${folder}/all.tar`, '-C', folder, 'dump.rdb', '-C', `${bench.data}/state`, 'service', '-C', bench.data, 'config']);
  await rm(`${folder}/dump.rdb`);
}

/**
 * Unpacks that, and starts a Redis on it until it has loaded: `bare`. And with the care that ours takes: it is loaded by a Redis and checked
 * by SQLite before it is loaded by the one that goes on.
 */
async function floorRestore(bench: BenchInstallation, folder: string): Promise<{ bare: number; proved: number }> {
  const server = await programOf(bench, 'redis-server');
  const target = `${folder}/out`;
  await mkdir(target);
  const unpack = await seconds(() => execa('tar', ['-xf', `${folder}/all.tar`, '-C', target]));
  const load = await timeLoad(server, target);
  const check = await seconds(async () => {
    using db = new DatabaseSync(`${target}/service/service.db`);
    db.prepare('PRAGMA integrity_check').all();
  });
  const again = await timeLoad(server, target);
  await rm(target, { recursive: true });
  return { bare: unpack + load, proved: unpack + load + check + again };
}

/** Seconds until a Redis has loaded what is in the folder. */
async function timeLoad(server: string, folder: string): Promise<number> {
  const [port = 0] = await freePorts(1);
  const began = performance.now();
  const redis = execa(server, ['--port', String(port), '--dir', folder, '--save', '', '--bind', '127.0.0.1'], { stdio: 'ignore', reject: false });
  const client = new Redis({ host: '127.0.0.1', port, retryStrategy: () => 20, maxRetriesPerRequest: null });
  client.on('error', () => undefined);
  try {
    await until(async () => client.status === 'ready' && (await client.dbsize()) >= KEYS, LOADED_MS);
    return (performance.now() - began) / 1000;
  } finally {
    client.disconnect();
    redis.kill('SIGKILL');
    await redis;
  }
}
