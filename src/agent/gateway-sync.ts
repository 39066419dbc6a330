import type { Redis } from 'ioredis';
import type { Logger } from 'pino';
import { ensureCaddyValue } from '../clients/caddy-admin.ts';
import type { CaddyAdmin } from '../clients/caddy-admin.ts';
import { redisTimeMs } from '../clients/redis-time.ts';
import type { EndConnections } from './dead-sockets.ts';
import { holdFleet, settleFleet } from './fleet-memory.ts';
import type { FleetMemory } from './fleet-memory.ts';
import { allInReach, gatewayRoutes, isServed, wayToNode } from '../contract/gateway-routes.ts';
import type { MachinesSeen } from '../contract/gateway-routes.ts';
import { NODES_KEY, endpointOf, parseNodeRecords } from '../contract/node-record.ts';
import type { KnownNode, NodeRecord } from '../contract/node-record.ts';
import { listenForChanges } from './announcements.ts';
import { createStandstill } from './standstill.ts';
import { startTicker } from './ticker.ts';

const PERIOD_MS = 1_000;
/** LiveKit takes a node for dead that has not written its entry for ten seconds (see keepAhead). Its agent ends it before, unless that has ended too. */
const GIVEN_UP_MS = 12_000;

export interface GatewaySyncOptions {
  readonly redis: Redis;
  /** A second connection, for listening. */
  readonly subscriber: Redis;
  readonly caddy: CaddyAdmin;
  readonly memory: FleetMemory;
  /** Keeps the configuration that Caddy runs with, for its next start. Rejects never. */
  readonly keepCaddy?: (config: string) => Promise<void>;
  /** Hears the fleet that is acted on, each second. */
  readonly onFleet?: (fleet: readonly NodeRecord[]) => void;
  readonly seen?: MachinesSeen;
  /** Ends Caddy's connections to a machine that has vanished, which Caddy itself would keep for minutes. */
  readonly endConnections?: EndConnections;
  readonly log: Logger;
  readonly monotonicMs: () => number;
}

/** Keeps Caddy equal to the registry. */
export interface GatewaySync {
  /** True while Caddy answered last time and its configuration has the ids that the agent fills; false until a machine was in the fleet. */
  isCaddyReady(): boolean;
  /** Where a client's signalling is led whose room is on this node; see wayToNode. */
  wayTo(nodeId: string): string | null;
  /** Looks at once. */
  poke(): void;
  stop(): Promise<void>;
}

/** Follows the registry every second, and at once when a machine announces a change, and writes to Caddy what differs. */
export function startGatewaySync(options: GatewaySyncOptions): GatewaySync {
  const { redis, subscriber, memory, log, monotonicMs } = options;
  let known: KnownNode[] | null = null;
  let readableSinceMs: number | null = null;
  let isLoaded = false;
  let isCaddyReady = false;
  let caddyProblem: string | null = null;
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
    if (!isLoaded) known = await memory.load();
    isLoaded = true;
    const seen = await look();
    // A registry in which nobody has ever been says nothing: what the deploy gave Caddy stands, and every write reloads Caddy.
    if (seen === null || (known === null && seen.fleet.length === 0)) return;
    known = seen.fleet;
    giveUp(seen);
    // After a time without Caddy it may be another configuration.
    const problem = await applyRoutes(options, {
      ...seen,
      seen: machinesSeen,
      isKept: isCaddyReady,
      onLed: () => endVanished(seen.fleet),
    });
    isCaddyReady = problem === null;
    if (problem !== caddyProblem && problem !== null) log.warn({ problem }, 'Caddy not in step');
    caddyProblem = problem;
    await memory.save(seen.fleet);
    options.onFleet?.(seen.fleet);
  };
  /** Only once their paths lead elsewhere: clients come back within milliseconds. */
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
    isCaddyReady: () => isCaddyReady,
    wayTo: (nodeId) => wayToNode(known ?? [], nodeId, machinesSeen),
    poke: () => ticker.poke(),
    stop: () => ticker.stop(),
  };
}

/**
 * Brings Caddy in step; gives what is wrong, or null. An id that is missing does not keep the others from being written.
 * @param seen.onLed is called as soon as clients are led right, also where they were before
 */
async function applyRoutes(
  options: GatewaySyncOptions,
  { fleet, nowMs, seen, isKept, onLed }: { fleet: readonly KnownNode[]; nowMs: number; seen: MachinesSeen; isKept: boolean; onLed: () => Promise<void> },
): Promise<string | null> {
  const { upstreams, nodePaths } = gatewayRoutes(fleet, nowMs, seen);
  const wanted = [
    { target: { id: 'node-paths', field: 'routes' }, value: nodePaths },
    { target: { id: 'media', field: 'upstreams' }, value: upstreams },
    { target: { id: 'media-internal', field: 'upstreams' }, value: upstreams },
  ];
  const missing: string[] = [];
  let isNew = !isKept;
  try {
    for (const { target, value } of wanted) {
      const done = await ensureCaddyValue(options.caddy, target, value);
      if (done === 'missing') missing.push(target.id);
      if (done === 'written') {
        isNew = true;
        options.log.info({ id: target.id, serving: upstreams.length, machines: fleet.length }, 'Caddy changed');
      }
      // Only this machine's programs come by the last one.
      if (target.id === 'media' && missing.length === 0) await onLed();
    }
    if (isNew && missing.length === 0) await options.keepCaddy?.(await options.caddy.readAll());
  } catch (error) {
    return error instanceof Error ? error.message : String(error);
  }
  return missing.length === 0 ? null : `ids missing in the configuration: ${missing.join(', ')}`;
}
