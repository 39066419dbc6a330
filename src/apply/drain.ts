import { sendRequest } from '../clients/http-request.ts';
import { sendCommands } from '../clients/sentinel.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { participantsOf } from '../contract/livekit-metrics.ts';
import { LIVEKIT_NODES_KEY, isShuttingDown } from '../contract/livekit-records.ts';
import { DRAINING_KEY, isReachable } from '../contract/node-record.ts';
import type { Host } from '../host/host.ts';
import type { Emit } from '../kernel/events.ts';
import { metricsUser } from '../render/livekit.ts';
import type { Settings } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import { livekitStopSeconds } from '../topology/part-spec.ts';
import type { Topology } from '../topology/topology.ts';
import { viewFleet } from './ask-fleet.ts';

/** What LiveKit's end would mean now. */
export interface Occupancy {
  /** People in rooms of this node; 0 also where LiveKit does not run. */
  readonly participants: number;
  /** Whether another node would take them. */
  readonly hasOthers: boolean;
  readonly fleet: FleetView | null;
}

interface DrainContext {
  readonly settings: Settings;
  readonly topology: Topology;
  readonly manager: ServiceManager;
  readonly emit: Emit;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

const POLL_MS = 250;
/** How often the same number is said again. */
const SAY_MS = 10_000;
/** Loopback answers within milliseconds. */
const ANSWER_MS = 1_500;

/** Who is on this machine's LiveKit, and where they could go. */
export async function readOccupancy(host: Host, settings: Settings, topology: Topology): Promise<Occupancy> {
  const participants = topology.hasMedia ? await countParticipants(settings) : 0;
  if (participants === 0) return { participants, hasOthers: false, fleet: null };
  const fleet = await viewFleet(host, settings, topology);
  const registry = fleet?.registry ?? null;
  const hasOthers = registry?.records.some((one) => one.machine !== topology.machine && one.state === 'serving' && isReachable(one, registry.nowMs)) === true;
  return { participants, hasOthers, fleet };
}

/**
 * Tells LiveKit to end, so that new rooms go to other nodes, and waits until its last participant has left; after
 * `deadlineMs` it is killed: its clients come back on another node by themselves within a second, which they would not
 * after an orderly end. Ctrl-C leaves it draining: whoever asked for it has it started again then (beginStart). One that was told
 * already, by an order from another machine or by a run that was broken off, is only waited for: the second time it would throw
 * everybody out.
 * @throws the signal's reason; FleetError REDIS_REFUSED before LiveKit was told
 */
export async function stopLivekit(context: DrainContext, { deadlineMs, fleet }: { deadlineMs: number; fleet: FleetView | null }): Promise<void> {
  const { settings, manager, emit, now, signal } = context;
  signal.throwIfAborted();
  const nodeId = fleet?.registry?.records.find((one) => one.machine === context.topology.machine)?.nodeId ?? null;
  const isTold = fleet !== null && nodeId !== null && (await markDraining(settings, fleet, nodeId));
  const former = await alivePid(manager);
  if (!isTold) await manager.beginStop('livekit');
  const deadline = now() + deadlineMs;
  let [said, saidAt] = [-1, 0];
  // Where it was told by another, its supervisor starts one in its place.
  const isThere = (pid: number | null): boolean => pid !== null && (!isTold || pid === former);
  while (isThere(await alivePid(manager))) {
    if (signal.aborted) {
      emit({ kind: 'note', code: 'DRAINS_ON', params: { seconds: livekitStopSeconds(settings) } });
      signal.throwIfAborted();
    }
    if (now() >= deadline) {
      await manager.kill('livekit');
    } else {
      const count = await countParticipants(settings);
      if (count !== said || now() - saidAt > SAY_MS) {
        emit({ kind: 'note', code: 'DRAINING', params: { count, seconds: Math.ceil((deadline - now()) / 1000) } });
        [said, saidAt] = [count, now()];
      }
    }
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  // That one nobody is in.
  if (isTold) await manager.stop('livekit');
}

/** Bytes as text: replies are read as such. */
const READ_ENTRY = "return (string.gsub(redis.call('HGET', KEYS[1], ARGV[1]) or '', '.', function(c) return string.format('%02x', c:byte()) end))";

/** Takes a LiveKit out of the ways of new connections, for the rest of its life. True where it had been told to end before. */
async function markDraining({ REDIS_PASSWORD }: Settings, { primary }: FleetView, nodeId: string): Promise<boolean> {
  const [, entry] = await sendCommands({ ...primary, password: REDIS_PASSWORD }, [
    ['SADD', DRAINING_KEY, nodeId],
    ['EVAL', READ_ENTRY, '1', LIVEKIT_NODES_KEY, nodeId],
  ]);
  return isShuttingDown(Buffer.from(String(entry), 'hex'));
}

/** Null where it has ended. */
async function alivePid(manager: ServiceManager): Promise<number | null> {
  const [livekit] = await manager.status(['livekit']);
  return livekit?.state === 'running' || livekit?.state === 'stopping' ? livekit.pid : null;
}

/** The sum of LiveKit's own count over its series; 0 where it does not answer. */
async function countParticipants(settings: Settings): Promise<number> {
  const authorization = `Basic ${Buffer.from(`${metricsUser}:${settings.REDIS_PASSWORD}`).toString('base64')}`;
  try {
    const answer = await sendRequest({ url: `http://127.0.0.1:${settings.METRICS_PORT}/metrics`, headers: { authorization }, timeoutMs: ANSWER_MS });
    return participantsOf(answer.text);
  } catch {
    return 0;
  }
}
