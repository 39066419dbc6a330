import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { appliedFile } from '../apply/observe.ts';
import { POSTGRES, REDIS } from '../backup/format.ts';
import type { Postgres } from '../backup/postgres-session.ts';
import { explainFullDisk, placeIn } from '../backup/prove.ts';
import { takeSnapshot } from '../backup/redis-snapshot.ts';
import { UNDONE, asideFolder, undoSwap, unfinishedSwap } from '../backup/swap.ts';
import { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import { redisFolder } from '../render/redis.ts';
import { ignoreUncontrolled } from '../supervisor/service-manager.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import { stagingFolder } from '../topology/restore-files.ts';
import { roleFile } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { keepFormer, reachDatabase, undoDatabaseRestore } from './restore-database.ts';
import { withExchange } from './with-exchange.ts';
import type { Machine } from './with-exchange.ts';

interface UndoOptions {
  readonly manager: ServiceManager;
  /** Whether parts have run with what is undone: then that is set aside for a person. */
  readonly isKept: boolean;
  /** What made the restore fail; null: it was broken off. */
  readonly first: unknown;
  /** A person has said that whoever cannot be reached will not come back: the rest is put back without. */
  readonly isGivenUp: boolean;
}

/** What may come back by itself: PostgreSQL that starts, a Redis primary that is being replaced. */
const PASSING = ['FLEET_UNREACHABLE', 'REDIS_REFUSED', 'DATABASE_UNREACHABLE'];
/** What a person may give up. */
const GIVEN_UP = [...PASSING, 'RESTORE_DATABASE_FAILED'];
/** What keeps from setting aside what was in use, and from nothing else. */
const LOST = ['REDIS_REFUSED', 'BACKUP_PART_SICK', 'BACKUP_REDIS_UNSAVED', 'DISK_FULL'];
const RETRY_MS = 1_000;

/**
 * Stops the parts that use what was swapped, and puts back what stood before. Whoever has to be reached for that is waited for as long
 * as for health (HEALTH_TIMEOUT), and after that given up where `isGivenUp` says so. What there is no space to keep is told, and goes.
 * @throws FleetError RESTORE_UNDO_FAILED, after which the next command goes on
 */
export async function undoRestore(context: CliContext, machine: Machine, options: UndoOptions): Promise<void> {
  const { topology } = machine;
  const found = { isBeside: false };
  try {
    await putBack(context, machine, { ...options, found });
  } catch (error) {
    const states = await options.manager.status(topology.parts).catch(() => []);
    const stopped = states.filter(({ state }) => state !== 'running').map(({ part }) => part);
    const params = {
      first: options.first === null ? translate(context.language, 'RESTORE_BROKEN_OFF') : reasonOf(context, options.first),
      reason: reasonOf(context, error),
      stopped: stopped.join(', ') || '-',
      path: `${asideFolder(topology.layout)}${found.isBeside ? ', Redis db 1' : ''}`,
    };
    throw new FleetError('RESTORE_UNDO_FAILED', params, { cause: error });
  }
}

/** @param options.found.isBeside is told whether what stood before is still beside the fleet's data */
async function putBack(context: CliContext, machine: Machine, options: UndoOptions & { found: { isBeside: boolean } }): Promise<void> {
  const { manager, isKept, isGivenUp, found } = options;
  const { settings, topology } = machine;
  const { layout } = topology;
  const { host, reporter } = context;
  const { parts: used = [], exchangeId = null, database = null, isBare = false } = (await unfinishedSwap(host, layout)) ?? {};
  // Nobody needs it any more, and what is set aside needs the space.
  await host.remove(placeIn(`${stagingFolder(layout)}/new`, POSTGRES));
  const onLost = (what: string, error: unknown): void =>
    reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE_LOST', params: { what, reason: reasonOf(context, error) } });
  let isWhole = true;
  const orGiveUp = async <T>(what: string, work: () => Promise<T>): Promise<T | null> => {
    try {
      return await patiently({ context, patienceMs: settings.HEALTH_TIMEOUT * 1_000 }, work);
    } catch (error) {
      if (!isGivenUp || !isOneOf(error, GIVEN_UP)) throw error;
      isWhole = false;
      reporter.emit({ kind: 'note', code: 'RESTORE_GIVEN_UP', params: { what, reason: reasonOf(context, error) } });
      return null;
    }
  };
  found.isBeside = exchangeId !== null && isKept;
  // Before anything is stopped for it.
  const postgres = database === null ? null : await orGiveUp('PostgreSQL', () => reachDatabase(context, settings, database));
  if (exchangeId !== null) {
    const undo = async (): Promise<void> =>
      withExchange(context, { ...machine, exchangeId }, async (exchange) => {
        if (isKept && (await exchange.stands())) await keepRedis(context, machine, (error) => onLost('Redis', error));
        await exchange.undo();
      });
    await orGiveUp('Redis', undo);
    found.isBeside = false;
  }
  for (const part of (isBare ? topology.parts : used).toReversed()) if (topology.parts.includes(part)) await manager.stop(part).catch(ignoreUncontrolled);
  let former: string | null = null;
  if (database !== null) {
    const undo = async (from: Postgres): ReturnType<typeof undoDatabaseRestore> =>
      undoDatabaseRestore(context, layout, { postgres: from, database, isKept, onLost: (error) => onLost('PostgreSQL', error) });
    const tables = postgres === null ? null : await orGiveUp('PostgreSQL', () => undo(postgres));
    if (tables === 'other') reporter.emit({ kind: 'note', code: 'RESTORE_DATABASE_SINCE', params: {} });
    if (tables === null || tables === 'other') former = await keepFormer(context, database);
    isWhole &&= tables !== 'other';
  }
  // Else the same command would take what it had begun for a machine of its own.
  if (isBare) for (const file of [appliedFile(topology), roleFile(layout)]) await host.remove(file);
  const keptAs = isKept || former !== null ? new Date().toISOString().replaceAll(/[-:.]/g, '') : null;
  const kept = await undoSwap(host, layout, { keptAs, onLost: (error) => onLost('.env', error) });
  reporter.emit({ kind: 'note', code: isWhole ? 'RESTORE_UNDONE' : 'RESTORE_UNDONE_HERE' });
  if (kept !== null && former !== null) reporter.emit({ kind: 'note', code: 'RESTORE_FORMER_KEPT', params: { path: `${kept}/${former}` } });
  else if (kept !== null) reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE_KEPT', params: { path: kept } });
}

async function patiently<T>({ context, patienceMs }: { context: CliContext; patienceMs: number }, work: () => Promise<T>): Promise<T> {
  const { now, signal, reporter } = context;
  const deadline = now() + patienceMs;
  // Whoever interrupts a restore has it undone; whoever does so now does not want to wait.
  const isUndoing = signal.aborted;
  for (let isSaid = false; ; isSaid = true) {
    try {
      return await work();
    } catch (error) {
      const isPassing = isOneOf(error, PASSING);
      if (!isPassing || now() >= deadline || (signal.aborted && !isUndoing)) throw error;
      if (!isSaid) reporter.emit({ kind: 'note', code: 'RESTORE_UNDO_WAITS', params: { reason: reasonOf(context, error), seconds: patienceMs / 1_000 } });
    }
    await delay(RETRY_MS);
  }
}

/** The fleet's data as this machine's own Redis has them. Where that cannot be, what stood before comes back all the same. */
async function keepRedis(context: CliContext, { settings, topology }: Machine, onLost: (error: unknown) => void): Promise<void> {
  const at = { host: '127.0.0.1', port: settings.REDIS_PORT, password: settings.REDIS_PASSWORD };
  const { signal } = new AbortController();
  const folder = asideFolder(topology.layout);
  const path = `${folder}/${REDIS}${UNDONE}`;
  try {
    await explainFullDisk(folder, async () => {
      await context.host.makeFolder(folder, { mode: 0o700, uid: 0, gid: 0 });
      const { file } = await takeSnapshot({ at, folder: redisFolder(topology), signal, onProgress: () => undefined });
      await pipeline(file.createReadStream({ start: 0 }), createWriteStream(path, { mode: 0o600, flush: true }));
    });
  } catch (error) {
    if (!isOneOf(error, LOST)) throw error;
    // Half of it is nothing.
    await context.host.remove(path);
    onLost(error);
  }
}

function isOneOf(error: unknown, codes: readonly string[]): boolean {
  return error instanceof FleetError && codes.includes(error.code);
}

function reasonOf({ language }: CliContext, error: unknown): string {
  if (!(error instanceof FleetError)) return String(error);
  // What a command says of a full disk is for whoever can repeat it.
  return error.code === 'DISK_FULL' ? `${String(error.params['path'])}: ENOSPC` : translate(language, error.code, error.params);
}
