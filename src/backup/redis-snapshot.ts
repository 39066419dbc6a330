import { constants } from 'node:fs';
import { lstat, open, rm } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { basename } from 'node:path';
import type { Redis } from 'ioredis';
import { openRedis } from '../clients/open-redis.ts';
import type { Endpoint } from '../clients/redis.ts';
import { FleetError } from '../kernel/errors.ts';

/** A snapshot of Redis that no folder names any more: it is gone when it is closed, or this process ends. */
export interface Snapshot {
  readonly file: FileHandle;
  readonly bytes: number;
}

/** Redis forks and writes; its own counters are looked at this often. */
const POLL_MS = 50;
/** While a primary is replaced no replica has one. */
const LINK_MS = 15_000;

/**
 * Lets a Redis of this machine write its data as of one moment (BGSAVE) into its own folder, which has to have the space, and takes
 * the file. Whoever reads and writes there meanwhile is not held up.
 * @param options.folder Redis's `dir`
 * @param options.onProgress is told the percentage of the keys that are written
 * @throws FleetError BACKUP_REDIS_UNSAVED, BACKUP_PART_SICK; the signal's reason
 */
export async function takeSnapshot(options: {
  at: Endpoint & { password: string };
  folder: string;
  signal: AbortSignal;
  onProgress: (percent: number) => void;
}): Promise<Snapshot> {
  const { at, folder, signal, onProgress } = options;
  const redis = await openRedis(at);
  try {
    await awaitLink(redis, signal);
    const info = async (): Promise<ReadonlyMap<string, string>> => parseInfo(await redis.info('persistence'));
    const [, name = 'dump.rdb'] = (await redis.config('GET', 'dbfilename')) as string[];
    // What Redis says is what the service user says; root removes this file.
    const path = `${folder}/${basename(name)}`;
    await begin(redis, { info, path, signal });
    for (;;) {
      const state = await info();
      const isOver = state.get('rdb_bgsave_in_progress') === '0';
      if (isOver && (await isThere(path))) break;
      if (isOver && state.get('rdb_last_bgsave_status') === 'err') throw new FleetError('BACKUP_REDIS_UNSAVED', { path: folder });
      onProgress(percentOf(state));
      await pause(signal);
    }
    const file = await open(path, constants.O_RDONLY | constants.O_NOFOLLOW);
    await rm(path);
    return { file, bytes: (await file.stat()).size };
  } finally {
    redis.disconnect();
  }
}

/**
 * Has it begin to write, once it writes nothing else: what somebody else has begun holds what was there before, and what is put off
 * until its append-only file is written would not tell whether it was this one that failed.
 */
async function begin(
  redis: Redis,
  { info, path, signal }: { info: () => Promise<ReadonlyMap<string, string>>; path: string; signal: AbortSignal },
): Promise<void> {
  for (;;) {
    const state = await info();
    if (state.get('rdb_bgsave_in_progress') !== '0' || state.get('aof_rewrite_in_progress') !== '0') {
      await pause(signal);
      continue;
    }
    await rm(path, { force: true });
    // Of itself it may have begun to write a moment ago.
    const said = await redis.call('BGSAVE', 'SCHEDULE').catch(async (error: unknown) => {
      if ((await info()).get('rdb_bgsave_in_progress') !== '1') throw error;
    });
    if (said === 'Background saving started') return;
  }
}

/** A replica without its primary has data of some time ago. @throws FleetError BACKUP_PART_SICK where that lasts */
async function awaitLink(redis: Redis, signal: AbortSignal): Promise<void> {
  for (let waitedMs = 0; ; waitedMs += POLL_MS) {
    const state = parseInfo(await redis.info('replication'));
    if (state.get('role') !== 'slave' || state.get('master_link_status') === 'up') return;
    if (waitedMs >= LINK_MS) throw new FleetError('BACKUP_PART_SICK', { part: 'redis', detail: 'master_link_status: down' });
    await pause(signal);
  }
}

/** Of `INFO`: fields by name. */
export function parseInfo(text: string): ReadonlyMap<string, string> {
  return new Map(text.split('\r\n').map((line) => [line.slice(0, line.indexOf(':')), line.slice(line.indexOf(':') + 1)] as const));
}

function percentOf(state: ReadonlyMap<string, string>): number {
  const total = Number(state.get('current_save_keys_total') ?? 0);
  return total === 0 ? 0 : Math.floor((Number(state.get('current_save_keys_processed') ?? 0) / total) * 100);
}

async function isThere(path: string): Promise<boolean> {
  const found = await lstat(path).catch(() => null);
  return found?.isFile() === true;
}

async function pause(signal: AbortSignal): Promise<void> {
  signal.throwIfAborted();
  await new Promise((resolve) => setTimeout(resolve, POLL_MS));
}
