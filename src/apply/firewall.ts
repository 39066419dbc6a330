import { askView } from '../clients/sentinel.ts';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Desired } from '../plan/plan.ts';
import { table } from '../render/firewall.ts';
import { masterName } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import { firewallFiles, firewallRules, firewallScript } from '../topology/firewall-files.ts';
import type { Topology } from '../topology/topology.ts';

interface Context {
  readonly host: Host;
  readonly settings: Settings;
  readonly topology: Topology;
  readonly now: () => number;
  readonly signal: AbortSignal;
}

/** Sentinels ask each other, and every Redis, once a second. */
const HEARD_MS = 3_000;
/** A packet may be lost, and a connection that was cut has to be made again. */
const PATIENCE_MS = 10_000;
const POLL_MS = 250;
const ROOT_FILE = { mode: 0o640, uid: 0, gid: 0 };

/** True where the desired rules, if any, are those that a former deploy confirmed. */
export async function isFirewallConfirmed(host: Host, desired: Desired, { layout }: Topology): Promise<boolean> {
  const rules = desired.files.find((file) => file.path === firewallRules(layout));
  return rules === undefined || (await host.read(firewallFiles(layout).confirmed))?.content === rules.content;
}

/** Lets the firewall part try rules that nobody has confirmed, at its next start only. */
export async function allowTrial({ host, topology }: Context): Promise<void> {
  await host.write(firewallFiles(topology.layout).trial, '', ROOT_FILE);
}

/** The machines whose Sentinel gets answers from this machine's Redis and Sentinel. */
export async function whoReachesUs({ settings, topology }: Context): Promise<string[]> {
  const others = topology.hasMedia ? topology.redisHosts.filter((host) => host !== topology.address) : [];
  const heard = await Promise.all(others.map((host) => lastHeardMs(settings, topology, host)));
  return others.filter((_host, index) => (heard[index] ?? Infinity) < HEARD_MS);
}

/**
 * Confirms the rules that are on trial, once every machine that reached this one before has reached it again.
 * @throws FleetError FIREWALL_CUTS_OFF
 */
export async function confirmFirewall(context: Context, before: readonly string[]): Promise<void> {
  const { host, settings, topology, now, signal } = context;
  const began = now();
  let waiting = before;
  while (waiting.length > 0) {
    const heard = await Promise.all(waiting.map((one) => lastHeardMs(settings, topology, one)));
    // The answer has to be younger than the rules.
    const rulesMs = now() - began;
    waiting = waiting.filter((_one, index) => (heard[index] ?? Infinity) >= rulesMs);
    if (waiting.length === 0) break;
    signal.throwIfAborted();
    if (rulesMs > PATIENCE_MS) throw new FleetError('FIREWALL_CUTS_OFF', { machines: waiting.join(', ') });
    await new Promise((resolve) => setTimeout(resolve, POLL_MS));
  }
  const rules = await host.read(firewallRules(topology.layout));
  if (rules !== null) await host.write(firewallFiles(topology.layout).confirmed, rules.content, ROOT_FILE);
}

/** Takes away our table, wherever it comes from, and all that was kept about it. */
export async function forgetFirewall(host: Host, { layout }: Topology): Promise<void> {
  await host.run(['nft', 'delete', 'table', ...table.split(' ')]);
  for (const path of [...Object.values(firewallFiles(layout)), firewallRules(layout), firewallScript(layout)]) await host.remove(path);
}

function lastHeardMs({ SENTINEL_PORT: sentinelPort, REDIS_PASSWORD: password }: Settings, { address }: Topology, host: string): Promise<number | null> {
  return askView({ host, sentinelPort, masterName, password, about: address });
}
