import { createWriteStream } from 'node:fs';
import { pipeline } from 'node:stream/promises';
import { setTimeout as delay } from 'node:timers/promises';
import { appliedFile } from '../apply/observe.ts';
import { REDIS } from '../backup/format.ts';
import { takeSnapshot } from '../backup/redis-snapshot.ts';
import { UNDONE, asideFolder, undoSwap, unfinishedSwap } from '../backup/swap.ts';
import { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import { redisFolder } from '../render/redis.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import { roleFile } from '../topology/topology.ts';
import type { Part } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { reachDatabase, undoDatabaseRestore } from './restore-database.ts';
import { withExchange } from './with-exchange.ts';
import type { Machine } from './with-exchange.ts';

interface UndoOptions {
  readonly manager: ServiceManager;
  /** Whether parts have run with what is undone: then that is set aside for a person. */
  readonly isKept: boolean;
  /** What made the restore fail; null: it was broken off. */
  readonly first: unknown;
}

/** What may come back by itself: PostgreSQL that starts, a Redis primary that is being replaced. */
const PASSING = ['FLEET_UNREACHABLE', 'REDIS_REFUSED', 'DATABASE_UNREACHABLE'];
const RETRY_MS = 1_000;

/**
 * Stops the parts that use what was swapped, and puts back what stood before. Whoever has to be reached for that is waited for as long
 * as for health (HEALTH_TIMEOUT).
 * @throws FleetError RESTORE_UNDO_FAILED, after which the next command goes on
 */
export async function undoRestore(context: CliContext, machine: Machine, options: UndoOptions): Promise<void> {
  const { host, reporter } = context;
  const { topology } = machine;
  try {
    const kept = await putBack(context, machine, options);
    reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE' });
    if (kept !== null) reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE_KEPT', params: { path: kept } });
  } catch (error) {
    const found = await options.manager.status(topology.parts).catch(() => []);
    const stopped = found.filter(({ state }) => state !== 'running').map(({ part }) => part);
    const isExchanged = (await unfinishedSwap(host, topology.layout))?.exchangeId != null;
    const params = {
      first: options.first === null ? translate(context.language, 'RESTORE_BROKEN_OFF') : reasonOf(context, options.first),
      reason: reasonOf(context, error),
      stopped: stopped.join(', ') || '-',
      path: `${asideFolder(topology.layout)}${isExchanged ? ', Redis db 1' : ''}`,
    };
    throw new FleetError('RESTORE_UNDO_FAILED', params, { cause: error });
  }
}

/** Gives the folder with what was undone; null where nothing is kept. */
async function putBack(context: CliContext, machine: Machine, { manager, isKept }: UndoOptions): Promise<string | null> {
  const { settings, topology } = machine;
  const { layout } = topology;
  const { parts: used = [], exchangeId = null, database = null, isBare = false } = (await unfinishedSwap(context.host, layout)) ?? {};
  const patience = { context, patienceMs: settings.HEALTH_TIMEOUT * 1_000 };
  // Before anything is stopped for it.
  const postgres = database === null ? null : await patiently(patience, () => reachDatabase(context, settings, database));
  if (exchangeId !== null) {
    const undo = async (): Promise<void> =>
      withExchange(context, { ...machine, exchangeId }, async (exchange) => {
        if (isKept && (await exchange.stands())) await keepRedis(context, machine);
        await exchange.undo();
      });
    await patiently(patience, undo);
  }
  for (const part of (isBare ? topology.parts : used).toReversed()) if (topology.parts.includes(part)) await stopAnyway(manager, part);
  if (database !== null && postgres !== null) await undoDatabaseRestore(context, layout, { postgres, database, isKept });
  // Else the same command would take what it had begun for a machine of its own.
  if (isBare) for (const file of [appliedFile(topology), roleFile(layout)]) await context.host.remove(file);
  return undoSwap(context.host, layout, isKept ? new Date().toISOString().replaceAll(/[-:]|\.\d+/g, '') : null);
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
      const isPassing = error instanceof FleetError && PASSING.includes(error.code);
      if (!isPassing || now() >= deadline || (signal.aborted && !isUndoing)) throw error;
      if (!isSaid) reporter.emit({ kind: 'note', code: 'RESTORE_UNDO_WAITS', params: { reason: reasonOf(context, error), seconds: patienceMs / 1_000 } });
    }
    await delay(RETRY_MS);
  }
}

/** The fleet's data as this machine's own Redis has them. Where that does not answer, it is said, and what stood before comes back all the same. */
async function keepRedis(context: CliContext, { settings, topology }: Machine): Promise<void> {
  const at = { host: '127.0.0.1', port: settings.REDIS_PORT, password: settings.REDIS_PASSWORD };
  const { signal } = new AbortController();
  try {
    await context.host.makeFolder(asideFolder(topology.layout), { mode: 0o700, uid: 0, gid: 0 });
    const { file } = await takeSnapshot({ at, folder: redisFolder(topology), signal, onProgress: () => undefined });
    const to = createWriteStream(`${asideFolder(topology.layout)}/${REDIS}${UNDONE}`, { mode: 0o600, flush: true });
    await pipeline(file.createReadStream({ start: 0 }), to);
  } catch (error) {
    if (!(error instanceof FleetError && (error.code === 'REDIS_REFUSED' || error.code === 'BACKUP_PART_SICK'))) throw error;
    context.reporter.emit({ kind: 'note', code: 'RESTORE_UNDONE_REDIS_GOES', params: { reason: reasonOf(context, error) } });
  }
}

function reasonOf({ language }: CliContext, error: unknown): string {
  return error instanceof FleetError ? translate(language, error.code, error.params) : String(error);
}

/** Stops a part; one that nobody supervises does not run. */
export async function stopAnyway(manager: ServiceManager, part: Part): Promise<void> {
  await manager.stop(part).catch((error: unknown) => {
    if (!(error instanceof FleetError && error.code === 'PART_NOT_CONTROLLED')) throw error;
  });
}
