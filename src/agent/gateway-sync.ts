import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { redisTimeMs } from '../clients/redis-time.ts';
import type { EndConnections } from './dead-sockets.ts';
import { holdFleet, settleFleet } from './fleet-memory.ts';
import type { FleetMemory } from './fleet-memory.ts';
import { allInReach, isServed, servingUpstreams, wayTo } from '../contract/gateway-routes.ts';
import type { MachinesSeen, Wanted } from '../contract/gateway-routes.ts';
import { NODES_KEY, endpointOf, parseNodeRecords } from '../contract/node-record.ts';
import type { KnownNode, NodeRecord } from '../contract/node-record.ts';
import { listenForChanges } from './announcements.ts';
import { createStandstill } from './standstill.ts';
import { startTicker } from './ticker.ts';
import type { Upstreams } from './upstream-files.ts';

const PERIOD_MS = 1_000;
/** LiveKit takes a node for dead that has not written its entry for ten seconds (see keepAhead). Its agent ends it before, unless that has ended too. */
const GIVEN_UP_MS = 12_000;

export interface GatewaySyncOptions {
  readonly redis: Redis;
  /** A second connection, for listening. */
  readonly subscriber: Redis;
  readonly upstreams: Upstreams;
  readonly memory: FleetMemory;
  /** Hears the fleet that is acted on, each second. */
  readonly onFleet?: (fleet: readonly NodeRecord[]) => void;
  readonly seen?: MachinesSeen;
  /** Ends Caddy's connections to a machine that has vanished, which Caddy itself would keep for minutes. */
  readonly endConnections?: EndConnections;
  readonly log: Logger;
  readonly monotonicMs: () => number;
}

/** Keeps what Caddy is told equal to the registry. */
export interface GatewaySync {
  /** True while Caddy's upstreams are those of the fleet; false until a machine was in it. */
  isInStep(): boolean;
  /** Where a client's signalling is led; see wayTo in contract/gateway-routes.ts. */
  wayTo(wanted: Wanted): string | null;
  /** Resolves once the registry has been looked at. */
  readonly looked: Promise<void>;
  /** Looks at once. */
  poke(): void;
  stop(): Promise<void>;
}

/** Follows the registry every second, and at once when a machine announces a change, and gives Caddy the machines that serve. */
export function startGatewaySync(options: GatewaySyncOptions): GatewaySync {
  const { redis, subscriber, upstreams, memory, log, monotonicMs } = options;
  let known: KnownNode[] | null = null;
  let readableSinceMs: number | null = null;
  let isLoaded = false;
  /** Null before the first time. */
  let isInStep: boolean | null = null;
  const { promise: looked, resolve: onLooked } = Promise.withResolvers<void>();
  /** Machines whose connections were ended since they were last in reach. */
  const ended = new Set<string>();

  const served = createStandstill(monotonicMs);
  const givenUp = new Set<string>();
  const machinesSeen: MachinesSeen = { ...(options.seen ?? allInReach), isGivenUp: (machine) => givenUp.has(machine) };

  const giveUp = ({ fleet, nowMs }: { fleet: readonly NodeRecord[]; nowMs: number }): void => {
    givenUp.clear();
    for (const record of fleet) {
      const isUp = isServed(record, nowMs, machinesSeen);
      if (served.note(record.machine, String(isUp)) >= GIVEN_UP_MS && !isUp) givenUp.add(record.machine);
    }
    served.keep(fleet.map((one) => one.machine));
  };
  const readRegistry = async (): Promise<{ records: NodeRecord[]; nowMs: number } | null> => {
    if (redis.status !== 'ready') return null;
    try {
      return { nowMs: await redisTimeMs(redis), records: parseNodeRecords(await redis.hgetall(NODES_KEY)) };
    } catch (error) {
      // Any failure of a command means the same here: go on with the fleet that is known.
      log.debug({ err: error }, 'registry not readable');
      return null;
    }
  };
  const look = async (): Promise<{ fleet: KnownNode[]; nowMs: number } | null> => {
    const reading = await readRegistry();
    if (reading === null) {
      readableSinceMs = null;
      return known === null ? null : { fleet: holdFleet(known, 0), nowMs: 0 };
    }
    readableSinceMs ??= monotonicMs();
    return { fleet: settleFleet({ ...reading, readableForMs: monotonicMs() - readableSinceMs }, known ?? []), nowMs: reading.nowMs };
  };
  const tick = async (): Promise<void> => {
    if (!isLoaded) await load();
    isLoaded = true;
    const seen = await look();
    // A registry in which nobody has ever been says nothing.
    const isAny = seen !== null && (known !== null || seen.fleet.length > 0);
    if (isAny) known = seen.fleet;
    if (readableSinceMs !== null) onLooked();
    if (!isAny) return;
    giveUp(seen);
    await giveUpstreams(servingUpstreams(seen.fleet, seen.nowMs, machinesSeen));
    await endVanished(seen.fleet);
    await memory.save(seen.fleet);
    options.onFleet?.(seen.fleet);
  };
  const load = async (): Promise<void> => {
    known = await memory.load();
    // Caddy complains of files that are not there.
    if (known === null && !(await upstreams.isAny())) await giveUpstreams([]);
  };
  /** What cannot be written, for want of space, is tried again; signalling to rooms that have a node does without. */
  const giveUpstreams = async (serving: readonly string[]): Promise<void> => {
    try {
      if (await upstreams.give(serving)) log.info({ serving: serving.length }, 'upstreams changed');
      isInStep = true;
    } catch (error) {
      if (isInStep !== false) log.error({ err: error }, 'upstreams not written');
      isInStep = false;
    }
  };
  /** Only once their clients are led elsewhere: they come back within milliseconds. */
  const endVanished = async (fleet: readonly NodeRecord[]): Promise<void> => {
    for (const { machine, signalling, nodeId } of fleet) {
      if (options.seen?.isOutOfReach(machine) !== true) ended.delete(machine);
      else if ((nodeId === null || options.seen.isCutOff(machine)) && !ended.has(machine)) {
        ended.add(machine);
        const { host, port } = endpointOf(signalling);
        await options.endConnections?.(host, port);
      }
    }
  };
  const ticker = startTicker(PERIOD_MS, tick, (error) => log.error({ err: error }, 'gateway not in step'));

  redis.on('ready', () => ticker.poke());
  listenForChanges(subscriber, () => ticker.poke(), log);

  return {
    isInStep: () => known !== null && isInStep === true,
    wayTo: (wanted) => wayTo(known ?? [], wanted, machinesSeen),
    looked,
    poke: () => ticker.poke(),
    stop: () => ticker.stop(),
  };
}
