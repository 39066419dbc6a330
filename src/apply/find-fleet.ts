import type { knock } from '../clients/knock.ts';
import type { FleetView, FleetWord } from '../clients/sentinel.ts';
import type { Emit } from '../kernel/events.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Host } from '../host/host.ts';
import { keyFingerprint } from '../render/app.ts';
import { redisFolder } from '../render/redis.ts';
import type { FleetSeed } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import { askAll, askOwn, knownHosts } from './ask-fleet.ts';
import { readLeft } from './left-fleet.ts';

/** Machines that are set up at the same time: the first one's Redis may be some seconds away. A failover takes less. */
const PATIENCE_MS = 20_000;
/** Whom nothing on the other side has refused may be slow, or starting, before this machine goes on without the others. */
const ALONE_PATIENCE_MS = 5_000;
const POLL_MS = 1_000;
/** LiveKit takes nodes for dead whose clocks are 5 s away from its own (its registry is written every 2 s). */
const CLOCK_LIMIT_MS = 3_000;

export interface FindContext {
  readonly host: Host;
  readonly emit: Emit;
  readonly now: () => number;
  readonly wallClock: () => number;
  readonly signal: AbortSignal;
  /** True where a person says that the fleet which this machine left is gone for good. */
  readonly isNewFleet: boolean;
  readonly door?: typeof knock;
}

/**
 * Asks the other machines that the settings name, or that this one has seen, where the fleet's Redis primary is, before anything is
 * changed here. A machine alone begins a fleet, unless that would be a second one of the same keys.
 * @throws FleetError FLEET_UNREACHABLE, FLEET_FOREIGN, FLEET_SECRETS_DIFFER, FLEET_KEYS_DIFFER, FLEET_SPLIT, FLEET_LEFT, PRIMARY_WITHOUT_DATA, CLOCKS_APART, FLEET_PORTS
 */
export async function findFleet(settings: Settings, topology: Topology, context: FindContext): Promise<FleetSeed> {
  const { address, redisHosts, hasMedia, layout } = topology;
  const left = hasMedia ? await readLeft(context.host, settings, layout) : [];
  const others = [...new Set([...(await knownHosts(context.host, topology)), ...left])];
  const alone = { primary: address, quorum: 1 };
  if (others.length === 0) return alone;
  const began = context.now();
  let lastOwn: FleetView | null = null;
  for (;;) {
    const own = await askOwn(settings, topology);
    // Where it gives no answer for a moment, its last one says where to go on.
    lastOwn = own ?? lastOwn;
    const mayGoOn = redisHosts[0] === address || !hasMedia || lastOwn !== null;
    const askedMs = context.wallClock();
    const words = await askAll(settings, others, context.door);
    const word = judge(words, settings, { topology, askedMs, heardMs: context.wallClock() });
    if (word !== null && word.primary.port !== settings.REDIS_PORT && hasMedia)
      throw new FleetError(
        'FLEET_PORTS',
        { variable: 'REDIS_PORT', was: word.primary.port, wanted: settings.REDIS_PORT, hosts: others.join(', ') },
        { exitCode: 2 },
      );
    const trouble = word === null || !hasMedia ? null : await troubleOf(words, { own, word }, { topology, host: context.host });
    if (word !== null && trouble === null) return { primary: word.primary.host, quorum: word.quorum };
    const waited = context.now() - began;
    if (trouble !== null && waited >= PATIENCE_MS) throw trouble;
    if (word === null && mayGoOn && (!hasMedia || areAllRefusing(words) || waited >= ALONE_PATIENCE_MS)) {
      if (left.length > 0 && !context.isNewFleet) throw new FleetError('FLEET_LEFT', { hosts: left.join(', ') });
      return lastOwn === null ? alone : { primary: lastOwn.primary.host, quorum: lastOwn.quorum };
    }
    if (waited >= PATIENCE_MS) throw unreachable(words, settings);
    context.signal.throwIfAborted();
    context.emit({ kind: 'step-progress', id: 'fleet', detail: `${others.join(', ')} …` });
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** The word to go by; null where nobody answers. */
function judge(
  words: ReadonlyMap<string, FleetWord>,
  settings: Settings,
  { topology, askedMs, heardMs }: { topology: Topology; askedMs: number; heardMs: number },
): FleetView | null {
  let found: FleetView | null = null;
  for (const [host, word] of words) {
    if (word.kind === 'refused') throw new FleetError('FLEET_SECRETS_DIFFER', { host });
    if (word.kind === 'foreign') throw new FleetError('FLEET_FOREIGN', { host, port: settings.SENTINEL_PORT, reason: word.reason });
    // The word of one that reaches the primary is worth more.
    if (word.kind === 'member' && (found?.registry ?? null) === null) found = word;
  }
  if (found === null) return null;
  const own = keyFingerprint(settings);
  const other = found.registry?.records.find((record) => record.machine !== topology.machine && record.keyFingerprint !== own);
  if (other !== undefined) throw new FleetError('FLEET_KEYS_DIFFER', { machine: other.machine });
  // It was told its time between the two, whichever of the others took until the end.
  const theirMs = found.registry?.nowMs ?? askedMs;
  const apartMs = Math.max(0, askedMs - theirMs) + Math.min(0, heardMs - theirMs);
  if (Math.abs(apartMs) > CLOCK_LIMIT_MS)
    throw new FleetError('CLOCKS_APART', { seconds: (apartMs / 1000).toFixed(1), host: found.primary.host, limit: CLOCK_LIMIT_MS / 1000 });
  return found;
}

/** What speaks against following the word; for a moment, also while a primary is being replaced. */
async function troubleOf(
  words: ReadonlyMap<string, FleetWord>,
  { own, word }: { own: FleetView | null; word: FleetView },
  { topology, host }: { topology: Topology; host: Host },
): Promise<FleetError | null> {
  const views = [...words, [topology.address, own] as const].flatMap(([at, one]) => (one?.kind === 'member' ? [{ at, primary: one.primary.host }] : []));
  if (new Set(views.map((view) => view.primary)).size > 1)
    return new FleetError('FLEET_SPLIT', { views: views.map(({ at, primary }) => `${at} → ${primary}`).join(', ') });
  const hasData = (await host.list(redisFolder(topology))).some((name) => name.startsWith('appendonly'));
  // An empty primary would empty its replicas.
  return word.primary.host === topology.address && !hasData ? new FleetError('PRIMARY_WITHOUT_DATA', { address: topology.address }) : null;
}

/** True where every machine is up and runs nothing of ours: there is nobody to wait for. */
function areAllRefusing(words: ReadonlyMap<string, FleetWord>): boolean {
  return [...words.values()].every((word) => word.kind === 'unreachable' && word.reason === 'ECONNREFUSED');
}

function unreachable(words: ReadonlyMap<string, FleetWord>, settings: Settings): FleetError {
  const reasons = [...words].map(([host, word]) => `${host} (${word.kind === 'unreachable' ? word.reason : word.kind})`);
  return new FleetError('FLEET_UNREACHABLE', { hosts: reasons.join(', '), port: settings.SENTINEL_PORT });
}
