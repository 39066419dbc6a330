import * as z from 'zod';
import type { Host } from '../host/host.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { livekitVersionFile } from '../topology/topology.ts';
import type { Layout } from '../topology/topology.ts';

const chosenSchema = z.object({ version: z.string(), former: z.string() });
/** The version of LiveKit that `upgrade` or `rollback` has set, and the one that ran before; a deploy keeps to it. */
export type ChosenVersion = z.infer<typeof chosenSchema>;

const deployedSchema = z.object({ media: z.object({ version: z.string() }) });

/** What was chosen on this machine; null where a deploy takes the newest that it gets. */
export async function readChosen(host: Host, layout: Layout): Promise<ChosenVersion | null> {
  const found = await host.read(livekitVersionFile(layout));
  return found === null ? null : parseJson(chosenSchema, found.content);
}

/** The version of LiveKit that this machine was deployed with; null where it has none. */
export async function readDeployed(host: Host, layout: Layout): Promise<string | null> {
  const found = await host.read(`${layout.config}/agent.json`);
  return found === null ? null : (parseJson(deployedSchema, found.content)?.media.version ?? null);
}
