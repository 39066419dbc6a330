import { randomUUID } from 'node:crypto';
import { existsSync } from 'node:fs';
import { viewFleet } from '../apply/ask-fleet.ts';
import { giveTurn, takeTurn } from '../apply/goodbye.ts';
import type { GoodbyeContext } from '../apply/goodbye.ts';
import { carryMoment, dropMoment } from '../backup/moment.ts';
import type { Proved } from '../backup/prove.ts';
import { stage } from '../backup/stage.ts';
import { acceptSwap, completeSwap, formerFolder, swap } from '../backup/swap.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { findUser, makeUser } from '../host/service-user.ts';
import type { Settings } from '../settings/schema.ts';
import { madeUserFile } from '../topology/topology.ts';
import type { Topology } from '../topology/topology.ts';
import { makeArchive, progressOf } from './backup.ts';
import { placeOf } from './backup-place.ts';
import { settingsOf } from './context.ts';
import type { CliContext } from './context.ts';
import { bringUp, seedOf } from './deploy.ts';
import type { WayOptions } from './make-way.ts';
import { openManager } from './prepare.ts';
import { beginDatabaseRestore } from './restore-database.ts';
import type { DatabaseRestore, DatabaseTarget } from './restore-database.ts';
import { stopAnyway, undoRestore, withExchange } from './settle-restore.ts';

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

/** Another machine that leaves or is upgraded takes longer than anyone would wait here. */
const PATIENCE_MS = 10_000;
/** The others wait so long at most, should this machine not come to an end. */
const TURN_MS = 600_000;

/** How Redis's data come back. */
type Way =
  /** As files of this machine's Redis, which is alone, or is the first of its fleet. */
  | { readonly kind: 'files' }
  /** Into the primary of a fleet that lives; its replicas follow. */
  | { readonly kind: 'fleet'; readonly fleet: FleetView }
  /** Not at all: this machine has none, or comes back to a fleet whose data are newer. */
  | { readonly kind: 'none' };

/**
 * Puts an archive that was proved in the place of what is there, and waits until all is well; else puts back what stood before.
 * @param given.next text of the settings as they are to be; null: they stay
 * @param given.database where PostgreSQL's tables are to be replaced; null: not at all
 * @throws FleetError those of deploy, OTHER_IS_LEAVING, REDIS_REFUSED
 */
export async function putInPlace(
  context: CliContext,
  proved: Proved,
  { target, next, database, options }: { target: Target; next: string | null; database: DatabaseTarget | null; options: WayOptions },
): Promise<PutInPlace> {
  const machine = targetAfter(target, next, proved);
  const way = await wayOf(context, machine, proved);
  if (way.kind !== 'fleet') return replace(context, proved, { machine, way, next, database, options });
  const { settings, topology } = machine;
  // Of the data that the whole fleet has: they are replaced on all its machines.
  const place = placeOf(settings, topology.layout, undefined);
  const { name } = await makeArchive(context, { settings, topology, place });
  const goodbye: GoodbyeContext = {
    settings,
    view: () => viewFleet(context.host, settings, topology),
    patienceMs: PATIENCE_MS,
    now: context.now,
    signal: context.signal,
  };
  await takeTurn(topology.machine, goodbye, TURN_MS);
  try {
    return { ...(await replace(context, proved, { machine, way, next, database, options })), former: place.addressOf(name) };
  } finally {
    await giveTurn(topology.machine, goodbye, (await goodbye.view()) ?? way.fleet);
  }
}

/** The machine with the settings as they are to be. */
export function targetAfter(target: Target, next: string | null, { head }: Proved): Target {
  return { ...target, ...(next === null ? {} : settingsOf(next, head.role)) };
}

async function wayOf(context: CliContext, { settings, topology, isBare }: Target, { redis }: Proved): Promise<Way> {
  if (redis === null || !topology.hasMedia) return { kind: 'none' };
  if (isBare) {
    const seed = await seedOf(context, settings, { topology, isNewFleet: false });
    return seed.primary === topology.address ? { kind: 'files' } : { kind: 'none' };
  }
  const fleet = await viewFleet(context.host, settings, topology);
  // Sentinel takes for a replica, and keeps in mind, whoever has once asked for a copy (redis-cli --rdb).
  const hasOthers = fleet !== null && (fleet.healthyReplicas > 0 || fleet.primary.host !== topology.address || (fleet.registry?.records.length ?? 0) > 1);
  return hasOthers ? { kind: 'fleet', fleet } : { kind: 'files' };
}

async function replace(
  context: CliContext,
  proved: Proved,
  { machine, way, next, database, options }: { machine: Target; way: Way; next: string | null; database: DatabaseTarget | null; options: WayOptions },
): Promise<PutInPlace> {
  const { head, folder, manifest, redis } = proved;
  const { host, envPath, signal } = context;
  const { settings, topology, isBare } = machine;
  const { layout } = topology;
  const manager = await openManager(context, settings, topology);
  const user = (await findUser(host, settings.SERVICE_USER)) ?? (await makeUser(host, settings.SERVICE_USER, madeUserFile(layout)));
  if (redis !== null && way.kind === 'files') {
    await dropMoment(redis.redis);
    if (!isBare) await carryFrom(settings, redis);
  }
  if (redis !== null && way.kind === 'fleet') {
    const onProgress = progressOf(context, 'restore');
    await withExchange(context, machine, (exchange) => exchange.load(redis.redis, { signal, onProgress: (percent) => onProgress(`Redis ${percent} %`) }));
  }
  await redis?.end();
  const staged = await stage({ topology, folder, members: manifest.members, envPath, env: next, hasRedis: way.kind === 'files', isBare, user });
  const deploying = { role: head.role, isNewFleet: false, ...options };
  const exchangeId = way.kind === 'fleet' ? head.id : null;
  const stopped = context.now();
  const parts = topology.parts.filter((part) => staged.parts.includes(part) || (part === 'service' && database !== null));
  if (!isBare) for (const part of parts.toReversed()) await stopAnyway(manager, part);
  let tables: DatabaseRestore | null = null;
  try {
    if (database !== null) tables = await beginDatabaseRestore(context, proved, { target: database, topology, id: randomUUID() });
    await swap(host, layout, { items: staged.items, parts, exchangeId, database: tables?.plan ?? null });
    await tables?.put();
    await tables?.close();
    if (exchangeId !== null) await withExchange(context, machine, (exchange, replicas) => exchange.begin(exchangeId, replicas));
    await bringUp(context, deploying);
  } catch (error) {
    await tables?.close();
    await undoRestore(context, machine, manager);
    // Should that fail as well, what is wrong with it was so before; the first failure is what is said.
    if (!isBare) await bringUp({ ...context, signal: new AbortController().signal }, deploying).catch(() => undefined);
    throw error;
  }
  const awaySeconds = Number(((context.now() - stopped) / 1000).toFixed(1));
  await acceptSwap(host, layout);
  if (exchangeId !== null) await withExchange(context, machine, (exchange) => exchange.end());
  await completeSwap(host, layout);
  return { awaySeconds, former: existsSync(formerFolder(layout)) ? formerFolder(layout) : null };
}

/** Rooms that go on, go on: what tells of them now goes into the data that come. A Redis that does not answer has nothing to tell. */
async function carryFrom(settings: Settings, scratch: NonNullable<Proved['redis']>): Promise<void> {
  const { Redis: Client } = await import('ioredis');
  const live = new Client({ host: '127.0.0.1', port: settings.REDIS_PORT, password: settings.REDIS_PASSWORD, lazyConnect: true, retryStrategy: () => null });
  live.on('error', () => undefined);
  const isUp = await live.connect().then(
    () => true,
    () => false,
  );
  if (isUp) await carryMoment(live, scratch.redis);
  live.disconnect();
}
