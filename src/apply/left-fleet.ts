import * as z from 'zod';
import { parseJson } from '../kernel/parse-json.ts';
import type { Host } from '../host/host.ts';
import { keyFingerprint } from '../render/app.ts';
import type { Settings } from '../settings/schema.ts';
import type { Layout } from '../topology/topology.ts';

const leftSchema = z.object({ hosts: z.array(z.string()), keyFingerprint: z.string() });

function leftFile({ state }: Layout): string {
  return `${state}/left-fleet.json`;
}

/** The machines of the fleet that this one has left and whose keys it still has: it may come back to them, but not begin another one beside them. */
export async function readLeft(host: Host, settings: Settings, layout: Layout): Promise<readonly string[]> {
  const found = await host.read(leftFile(layout));
  if (found === null) return [];
  const left = parseJson(leftSchema, found.content);
  return left?.keyFingerprint === keyFingerprint(settings) ? left.hosts : [];
}

/** Notes whom this machine has left; the note of an earlier fleet goes. */
export async function writeLeft(host: Host, settings: Settings, { layout, hosts }: { layout: Layout; hosts: readonly string[] }): Promise<void> {
  if (hosts.length === 0) return host.remove(leftFile(layout));
  await host.write(leftFile(layout), `${JSON.stringify({ hosts, keyFingerprint: keyFingerprint(settings) })}\n`, { mode: 0o600, uid: 0, gid: 0 });
}
