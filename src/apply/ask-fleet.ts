import { knock } from '../clients/knock.ts';
import { askFleet } from '../clients/sentinel.ts';
import type { FleetView, FleetWord } from '../clients/sentinel.ts';
import { FLEET_MEMORY, parseFleetMemory } from '../contract/fleet-memory.ts';
import { hostOf } from '../contract/node-record.ts';
import type { Host } from '../host/host.ts';
import { masterName } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';

/** What a machine is asked with. */
export type Door = typeof knock;

/** The other machines that may know the fleet: those that the settings name, and those that this machine's agent has seen in it. */
export async function knownHosts(host: Host, { layout, redisHosts, address }: Topology): Promise<string[]> {
  const memory = await host.read(`${layout.state}/agent/${FLEET_MEMORY}`);
  const remembered = memory === null ? [] : (parseFleetMemory(memory.content) ?? []).map((record) => hostOf(record.signalling));
  return [...new Set([...redisHosts, ...remembered])].filter((one) => one !== address);
}

/**
 * What each of these machines says of the fleet. Each first shows that it knows the fleet's secret: whoever has taken over an
 * address gets no password. Showing that this machine knows it too opens the other one's firewall.
 */
export async function askAll(settings: Settings, hosts: readonly string[], door: Door = knock): Promise<ReadonlyMap<string, FleetWord>> {
  return new Map(await Promise.all(hosts.map(async (host) => [host, await askOne(settings, host, door)] as const)));
}

async function askOne(settings: Settings, host: string, door: Door): Promise<FleetWord> {
  const { REDIS_PASSWORD: password, AGENT_PORT: port } = settings;
  const answer = await door({ host, port, password });
  if (answer === 'refused') return { kind: 'refused' };
  if (answer === 'silent') return askStranger(settings, host);
  const word = await askSentinel(settings, host, password);
  if (word.kind !== 'member' || word.registry !== null || word.primary.host === host) return word;
  // The primary's firewall may not know this machine yet.
  const isLetIn = (await door({ host: word.primary.host, port, password })) === 'welcome';
  return isLetIn ? askSentinel(settings, host, password) : word;
}

/** Whose agent is silent: what listens there is asked without a password, so as to say what is wrong. */
async function askStranger(settings: Settings, host: string): Promise<FleetWord> {
  const word = await askSentinel(settings, host, null);
  if (word.kind === 'refused') return { kind: 'unreachable', reason: `no agent on ${settings.AGENT_PORT}/udp` };
  return word.kind === 'member' ? { kind: 'foreign', reason: 'no password asked' } : word;
}

function askSentinel({ SENTINEL_PORT: sentinelPort }: Settings, host: string, password: string | null): Promise<FleetWord> {
  return askFleet({ host, sentinelPort, masterName, password });
}

/** What this machine's own Sentinel says; null where it runs none, or it does not answer. */
export async function askOwn(settings: Settings, { hasMedia }: Topology): Promise<FleetView | null> {
  if (!hasMedia) return null;
  const word = await askSentinel(settings, '127.0.0.1', settings.REDIS_PASSWORD);
  return word.kind === 'member' ? word : null;
}

/** The fleet as this machine sees it now: by its own Sentinel, else by the other machines' that it knows; null where none answers. */
export async function viewFleet(host: Host, settings: Settings, topology: Topology): Promise<FleetView | null> {
  const own = await askOwn(settings, topology);
  if (own !== null) return own;
  const words = [...(await askAll(settings, await knownHosts(host, topology))).values()].filter((word) => word.kind === 'member');
  return words.find((word) => word.registry !== null) ?? words[0] ?? null;
}
