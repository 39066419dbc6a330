import { knock } from '../clients/knock.ts';
import { askFleet } from '../clients/sentinel.ts';
import type { FleetView, FleetWord } from '../clients/sentinel.ts';
import type { Emit } from '../kernel/events.ts';
import { FleetError } from '../kernel/errors.ts';
import { keyFingerprint } from '../render/app.ts';
import { masterName } from '../render/redis.ts';
import type { FleetSeed } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';

/** Machines that are set up at the same time: the first one's Redis may be some seconds away. */
const PATIENCE_MS = 20_000;
const POLL_MS = 1_000;
/** LiveKit takes nodes for dead whose clocks are 5 s away from its own (its registry is written every 2 s). */
const CLOCK_LIMIT_MS = 3_000;

/**
 * Asks the other machines that the settings name where the fleet's Redis primary is, before anything is changed here.
 * @throws FleetError FLEET_UNREACHABLE, FLEET_FOREIGN, FLEET_SECRETS_DIFFER, FLEET_KEYS_DIFFER, CLOCKS_APART
 */
export async function findFleet(
  settings: Settings,
  topology: Topology,
  context: { emit: Emit; now: () => number; wallClock: () => number; signal: AbortSignal },
): Promise<FleetSeed> {
  const { address, redisHosts, hasMedia } = topology;
  const others = redisHosts.filter((host) => host !== address);
  const alone = { primary: address, quorum: 1 };
  if (others.length === 0) return alone;
  const isFirst = redisHosts[0] === address;
  const deadline = context.now() + (isFirst || !hasMedia ? 0 : PATIENCE_MS);
  for (;;) {
    const words = await askAll(settings, others);
    const word = judge(words, settings, { topology, wallClock: context.wallClock });
    if (word !== null) return { primary: word.primary.host, quorum: word.quorum };
    // The first media machine may be the only one yet; a gateway is also set up while the others are off.
    if (isFirst || !hasMedia) return alone;
    context.signal.throwIfAborted();
    if (context.now() >= deadline) throw unreachable(words, settings);
    context.emit({ kind: 'step-progress', id: 'fleet', detail: `${others.join(', ')} …` });
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
}

/** What each of these machines says of the fleet; one that does not answer is first shown that this machine belongs to it. */
export async function askAll(settings: Settings, hosts: readonly string[]): Promise<ReadonlyMap<string, FleetWord>> {
  const { REDIS_PASSWORD: password, AGENT_PORT: port } = settings;
  const words = await askOnce(settings, hosts);
  const asked = [...words].map(async ([host, word]): Promise<[string, FleetWord]> => {
    // Their firewalls may not know this machine yet.
    const silent = word.kind === 'unreachable' ? host : word.kind === 'member' && word.registry === null ? word.primary.host : null;
    const answer = silent === null ? 'silent' : await knock({ host: silent, port, password });
    if (answer === 'welcome') return [host, (await askOnce(settings, [host])).get(host) ?? word];
    return [host, answer === 'refused' && word.kind === 'unreachable' ? { kind: 'refused' } : word];
  });
  return new Map(await Promise.all(asked));
}

async function askOnce({ SENTINEL_PORT: sentinelPort, REDIS_PASSWORD: password }: Settings, hosts: readonly string[]): Promise<Map<string, FleetWord>> {
  return new Map(await Promise.all(hosts.map(async (host) => [host, await askFleet({ host, sentinelPort, masterName, password })] as const)));
}

/** The word to go by; null where nobody answers. */
function judge(
  words: ReadonlyMap<string, FleetWord>,
  settings: Settings,
  { topology, wallClock }: { topology: Topology; wallClock: () => number },
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
  const apartMs = found.registry === null ? 0 : wallClock() - found.registry.nowMs;
  if (Math.abs(apartMs) > CLOCK_LIMIT_MS)
    throw new FleetError('CLOCKS_APART', { seconds: (apartMs / 1000).toFixed(1), host: found.primary.host, limit: CLOCK_LIMIT_MS / 1000 });
  return found;
}

function unreachable(words: ReadonlyMap<string, FleetWord>, settings: Settings): FleetError {
  const reasons = [...words].map(([host, word]) => `${host} (${word.kind === 'unreachable' ? word.reason : word.kind})`);
  return new FleetError('FLEET_UNREACHABLE', { hosts: reasons.join(', '), port: settings.SENTINEL_PORT });
}

/** The fleet as this machine sees it now: by its own Sentinel, on a gateway by the first that answers; null where none does. */
export async function viewFleet(settings: Settings, { hasMedia, redisHosts }: Topology): Promise<FleetView | null> {
  const words = [...(await askOnce(settings, hasMedia ? ['127.0.0.1'] : redisHosts)).values()].filter((word) => word.kind === 'member');
  return words.find((word) => word.registry !== null) ?? words[0] ?? null;
}
