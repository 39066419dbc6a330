import type { Layout } from './topology.ts';

/** The rules that the settings ask for. */
export function firewallRules(layout: Layout): string {
  return `${layout.config}/firewall.nft`;
}

/** What keeps them in force. */
export function firewallScript(layout: Layout): string {
  return `${layout.app}/firewall.sh`;
}

/** Where the agent writes who belongs to the fleet: an IPv4 address a line. */
export function membersFile(layout: Layout): string {
  return `${layout.state}/agent/members`;
}

/**
 * What the firewall part tells and is told, in files that only root writes: its state in words, that the next start may try rules which
 * nobody has confirmed, the confirmed rules, and the members that are let in.
 */
export function firewallFiles(layout: Layout): Readonly<Record<'state' | 'trial' | 'confirmed' | 'members', string>> {
  const base = firewallBase(layout);
  return { state: `${base}.state`, trial: `${base}.trial`, confirmed: `${base}.confirmed`, members: `${base}.members` };
}

/** What the names of those files begin with. */
export function firewallBase(layout: Layout): string {
  return `${layout.run}/firewall`;
}
