import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { knownHosts, viewFleet } from '../apply/ask-fleet.ts';
import { dropBeside } from '../backup/exchange.ts';
import { carryMoment, dropMoment } from '../backup/moment.ts';
import type { Proved } from '../backup/prove.ts';
import { stage } from '../backup/stage.ts';
import { acceptSwap, completeSwap, formerFolder, swap } from '../backup/swap.ts';
import { openRedis } from '../clients/open-redis.ts';
import { hasMajority } from '../clients/sentinel.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { findUser, makeUser } from '../host/service-user.ts';
import { FleetError } from '../kernel/errors.ts';
import { masterName } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import { ignoreUncontrolled } from '../supervisor/service-manager.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import { madeUserFile } from '../topology/topology.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { awaitWell } from './await-well.ts';
import { settingsOf } from './context.ts';
import type { CliContext } from './context.ts';
import { bringUp, seedOf } from './deploy.ts';
import { restoreFleet } from './fleet-restore.ts';
import type { WayOptions } from './make-way.ts';
import { openManager } from './prepare.ts';
import { beginDatabaseRestore } from './restore-database.ts';
import type { DatabaseRestore, DatabaseTarget } from './restore-database.ts';
import { undoRestore } from './undo-restore.ts';
import { letGo, withExchange } from './with-exchange.ts';
import type { ExchangingMachine } from './with-exchange.ts';

/** The machine that an archive is to be restored on, before anything is. */
export interface Target {
  readonly settings: Settings;
  readonly topology: Topology;
  /** Whether nothing is deployed here. */
  readonly isBare: boolean;
}

/** How it went. */
export interface PutInPlace {
  /** From the stop of the first part until all were well. */
  readonly awaySeconds: number;
  /** Where what stood before can be found; null where nothing did. */
  readonly former: string | null;
}

/** What a person has said about a restore. */
export interface RestoreWay extends WayOptions {
  /** The other machines of the fleet are gone for good: this one alone is what counts. */
  readonly isAlone: boolean;
}

/** Longer than a copy of what is of the moment, and Redis's end, take; whoever wants to write waits. */
const PAUSE_MS = 10_000;

/** How Redis's data come back. */
type Way =
  /** As files of this machine's Redis, which is alone, or is the first of its fleet; `isAlone`: what is left of a fleet that it begins anew. */
  | { readonly kind: 'files'; readonly isAlone: boolean }
  /** Into the primary of a fleet that lives; its replicas follow. */
  | { readonly kind: 'fleet'; readonly fleet: FleetView }
  /** Not at all: this machine has none, or comes back to a fleet whose data are newer. */
  | { readonly kind: 'none' };

/**
 * Puts an archive that was proved in the place of what is there, and waits until all is well; else puts back what stood before.
 * @param given.next text of the settings as they are to be; null: they stay
 * @param given.database where PostgreSQL's tables are to be replaced; null: not at all
 * @param given.source how a person named the archive
 * @throws FleetError those of deploy and restoreFleet, RESTORE_CUT_OFF
 */
export async function putInPlace(
  context: CliContext,
  proved: Proved,
  { target, next, source, database, options }: { target: Target; next: string | null; source: string; database: DatabaseTarget | null; options: RestoreWay },
): Promise<PutInPlace> {
  const machine = targetAfter(target, next, proved);
  const way = await wayOf(context, machine, { proved, options });
  const work = (exchangeId: string | null): Promise<PutInPlace> => replace(context, proved, { machine, way, exchangeId, next, database, options });
  return way.kind === 'fleet' && proved.redis !== null
    ? restoreFleet(context, machine, { fleet: way.fleet, scratch: proved.redis.redis, source, replace: work })
    : work(null);
}

/** The machine with the settings as they are to be. */
export function targetAfter(target: Target, next: string | null, { head }: Proved): Target {
  return { ...target, ...(next === null ? {} : settingsOf(next, head.role)) };
}

async function wayOf(context: CliContext, { settings, topology, isBare }: Target, { proved, options }: { proved: Proved; options: RestoreWay }): Promise<Way> {
  if (proved.redis === null || !topology.hasMedia) return { kind: 'none' };
  if (isBare) {
    const seed = await seedOf(context, settings, { topology, isNewFleet: false });
    return seed.primary === topology.address ? { kind: 'files', isAlone: false } : { kind: 'none' };
  }
  const fleet = await viewFleet(context.host, settings, topology);
  const others = await knownHosts(context.host, topology);
  if (fleet === null && others.length === 0) return { kind: 'files', isAlone: false };
  if (fleet === null && options.isAlone) return { kind: 'files', isAlone: true };
  if (fleet === null) throw new FleetError('RESTORE_CUT_OFF', { hosts: others.join(', ') });
  // Sentinel takes for a replica, and keeps in mind, whoever has once asked for a copy (redis-cli --rdb).
  const isFirst = fleet.primary.host === topology.address;
  const hasOthers = fleet.healthyReplicas > 0 || !isFirst || (fleet.registry?.records.length ?? 0) > 1;
  if (!hasOthers) return { kind: 'files', isAlone: false };
  const own = { host: '127.0.0.1', sentinelPort: settings.SENTINEL_PORT, masterName, password: settings.REDIS_PASSWORD };
  if ((await hasMajority(own)) !== false) return { kind: 'fleet', fleet };
  // What the smaller part of a network that is cut takes is lost when it hears of the other.
  if (options.isAlone) return { kind: 'files', isAlone: true };
  throw new FleetError('RESTORE_CUT_OFF', { hosts: others.join(', ') });
}

async function replace(
  context: CliContext,
  proved: Proved,
  given: { machine: Target; way: Way; exchangeId: string | null; next: string | null; database: DatabaseTarget | null; options: RestoreWay },
): Promise<PutInPlace> {
  const { head, folder, manifest, redis } = proved;
  const { machine, way, exchangeId, next, database, options } = given;
  const { host, envPath, now } = context;
  const { settings, topology, isBare } = machine;
  const { layout } = topology;
  const manager = await openManager(context, settings, topology);
  const user = (await findUser(host, settings.SERVICE_USER)) ?? (await makeUser(host, settings.SERVICE_USER, madeUserFile(layout)));
  const hasRedis = way.kind === 'files';
  const isAlone = way.kind === 'files' && way.isAlone;
  if (redis !== null && hasRedis) {
    await dropBeside(redis.redis);
    await dropMoment(redis.redis);
  }
  const staged = await stage({ topology, folder, members: manifest.members, envPath, env: next, hasRedis, isAlone, isBare, user });
  const deploying = { role: head.role, isNewFleet: false, isNow: options.isNow, isSure: options.isSure };
  const stopped = now();
  const parts = topology.parts.filter((part) => staged.parts.includes(part) || (part === 'service' && database !== null));
  let tables: DatabaseRestore | null = null;
  // Whether somebody may have written into what was put in place.
  let hasRun = false;
  try {
    if (!isBare) await stopParts(settings, manager, { parts, scratch: redis });
    await redis?.end();
    await staged.settle();
    if (database !== null) tables = await beginDatabaseRestore(context, proved, { target: database, topology, id: randomUUID() });
    await swap(host, layout, { items: staged.items, parts, exchangeId, database: tables?.plan ?? null, isBare });
    await tables?.put();
    await tables?.close();
    hasRun = true;
    if (exchangeId !== null) await withExchange(context, { ...machine, exchangeId }, (exchange, replicas) => exchange.begin(replicas));
    await bringUp(context, { ...deploying, isAlone });
    await awaitWell(context, { settings, topology, manager });
    if (exchangeId !== null) await checkExchange(context, { ...machine, exchangeId });
  } catch (error) {
    await tables?.close();
    await undoRestore(context, machine, { manager, isKept: hasRun, first: error, isGivenUp: false });
    // Should that fail as well, or be interrupted, what is wrong with it was so before; the first failure is what is said.
    const again = { ...context, signal: context.nextInterrupt() };
    if (!isBare) await bringBack(again, { ...deploying, isAlone }).catch(() => startAnyway(manager, parts));
    throw error;
  }
  const awaySeconds = Number(((now() - stopped) / 1000).toFixed(1));
  await acceptSwap(host, layout);
  await completeSwap(host, layout, await letGo(context, { settings, topology, exchangeId }));
  return { awaySeconds, former: existsSync(formerFolder(layout)) ? formerFolder(layout) : null };
}

/** What stood before, as well as it was when it stood. @throws FleetError those of deploy */
async function bringBack(context: CliContext, deploying: Parameters<typeof bringUp>[1]): Promise<void> {
  const { settings, topology, prepared } = await bringUp(context, deploying);
  await awaitWell(context, { settings, topology, manager: prepared.manager });
}

/** As they stand, each that can be. */
async function startAnyway(manager: ServiceManager, parts: readonly Part[]): Promise<void> {
  for (const part of parts) await manager.start(part).catch(() => undefined);
}

/** Stops them, Redis last. What its data tell of this moment goes into those that come: rooms that go on, go on. */
async function stopParts(settings: Settings, manager: ServiceManager, { parts, scratch }: { parts: readonly Part[]; scratch: Proved['redis'] }): Promise<void> {
  for (const part of parts.toReversed()) {
    if (part !== 'redis' || scratch === null) {
      await manager.stop(part).catch(ignoreUncontrolled);
      continue;
    }
    // One that does not answer has nothing to tell.
    const live = await openRedis({ host: '127.0.0.1', port: settings.REDIS_PORT, password: settings.REDIS_PASSWORD }).catch(() => null);
    try {
      // From the copy to the stop nobody writes; should this run be killed, they go on by themselves.
      await live?.call('CLIENT', 'PAUSE', String(PAUSE_MS), 'WRITE');
      if (live !== null) await carryMoment(live, scratch.redis);
      await manager.stop(part).catch(ignoreUncontrolled);
    } finally {
      live?.disconnect();
    }
  }
}

/** Should the primary have been lost meanwhile, the one that took its place may not have heard of the exchange. @throws FleetError REDIS_REFUSED */
async function checkExchange(context: CliContext, machine: ExchangingMachine): Promise<void> {
  if (await withExchange(context, machine, (exchange) => exchange.stands())) return;
  throw new FleetError('REDIS_REFUSED', {
    address: machine.topology.redisHosts.join(', '),
    reason: 'the primary that took the data was replaced by one without them',
  });
}
