import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, open } from 'node:fs/promises';
import type { Readable, Writable } from 'node:stream';
import type { Redis } from 'ioredis';
import { parseInfo } from './redis-snapshot.ts';

/** A Redis that only this process can reach. */
export interface ScratchRedis {
  readonly redis: Redis;
  /** Keys that it found, expired ones included, and those that it has now in its first database. */
  readonly loaded: { readonly all: number | null; readonly first: number };
  /** Writes what it has to the disk, and ends. */
  end(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** Why a Redis could not load what it was given: the last lines that it said. */
export class NotLoaded extends Error {}

const POLL_MS = 20;
/**
 * Becomes Redis, and ends it when the other end of descriptor 3 is gone without a word: with the process that started it, however that
 * ended. A Redis that nobody asks any more would keep its memory until the machine boots.
 */
const MORTAL = '(read -r _ <&3 || kill -9 $$) >/dev/null 2>&1 & exec "$@" 3<&-';
/** In the folder, which has a shorter name as an open descriptor: a socket's address has 107 bytes. */
const SOCKET = 's';
/** Of what Redis says, for when it does not come up. */
const KEPT_LINES = 5;

/**
 * Starts a Redis in a folder that holds `appendonly.aof`, which may be an RDB file: every Redis since 4.0 loads that, newer ones turn it
 * into the first file of `appendonlydir` by a rename. It has no port, but a socket in that folder, and runs as a user without
 * rights, whose the folder is. It ends with this process, however that ends.
 * @param options.onProgress is told the percentage that is loaded
 * @throws NotLoaded; the signal's reason
 */
export async function startScratchRedis(options: {
  program: string;
  folder: string;
  user: { uid: number; gid: number };
  signal: AbortSignal;
  onProgress: (percent: number) => void;
}): Promise<ScratchRedis> {
  const { program, folder, user, signal, onProgress } = options;
  await chmod(folder, 0o700);
  const place = await open(folder);
  const lines = ['port 0', `unixsocket ${SOCKET}`, 'unixsocketperm 700', 'daemonize no', 'logfile ""', 'save ""'];
  const config = [...lines, 'appendonly yes', 'appendfsync no', 'aof-load-truncated no', 'maxmemory-policy noeviction', 'auto-aof-rewrite-percentage 0'];
  const child = spawn('/bin/sh', ['-c', MORTAL, 'sh', program, '-'], {
    ...user,
    cwd: folder,
    stdio: ['pipe', 'pipe', 'ignore', 'pipe'],
    env: { LANG: 'C.UTF-8' },
  });
  // As `stdio` asks for them.
  const [input, output, lifeline] = [child.stdin, child.stdout, child.stdio[3]] as [Writable, Readable, Writable];
  const said: string[] = [];
  output.on('data', (text: Buffer) => {
    said.push(
      ...text
        .toString()
        .split('\n')
        .filter((line) => line !== ''),
    );
    said.splice(0, said.length - KEPT_LINES);
  });
  const gone = once(child, 'exit').catch((error: unknown) => [error]);
  for (const one of [input, lifeline]) one.on('error', () => undefined);
  input.end(`${config.join('\n')}\n`);
  const { Redis: Client } = await import('ioredis');
  const redis = new Client({ path: `/proc/self/fd/${place.fd}/${SOCKET}`, enableReadyCheck: false, retryStrategy: () => POLL_MS, maxRetriesPerRequest: null });
  redis.on('error', () => undefined);
  let isReleased = false;
  const release = async (): Promise<void> => {
    if (isReleased) return;
    isReleased = true;
    redis.disconnect();
    if (child.exitCode === null && child.signalCode === null) child.kill('SIGKILL');
    await gone;
    // A word: whoever waits there has nothing to end.
    lifeline.end('\n');
    await place.close();
  };
  try {
    const loaded = await awaitLoaded(redis, { child, said, signal, onProgress });
    return {
      redis,
      loaded,
      async end() {
        // Answers by ending.
        redis.shutdown().catch(() => undefined);
        await gone;
        await release();
      },
      [Symbol.asyncDispose]: release,
    };
  } catch (error) {
    await release();
    throw error;
  }
}

async function awaitLoaded(
  redis: Redis,
  { child, said, signal, onProgress }: { child: ReturnType<typeof spawn>; said: readonly string[]; signal: AbortSignal; onProgress: (percent: number) => void },
): Promise<ScratchRedis['loaded']> {
  for (;;) {
    signal.throwIfAborted();
    if (child.exitCode !== null || child.signalCode !== null || child.pid === undefined) throw new NotLoaded(said.join(' | ') || 'it did not start');
    const state = redis.status === 'ready' ? parseInfo(await redis.info('persistence').catch(() => '')) : new Map<string, string>();
    if (state.get('loading') === '0') {
      const all = state.get('rdb_last_load_keys_loaded');
      const expired = Number(state.get('rdb_last_load_keys_expired') ?? 0);
      return { all: all === undefined ? null : Number(all) + expired, first: await redis.dbsize() };
    }
    if (state.has('loading')) onProgress(Math.floor(Number(state.get('loading_loaded_perc') ?? 0)));
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}
