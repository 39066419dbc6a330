import * as z from 'zod';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { stagingFolder } from '../topology/restore-files.ts';
import type { Layout, Part } from '../topology/topology.ts';

/** Something on this machine, and what is to take its place. */
const itemSchema = z.object({
  /** A file or folder; what takes its place is on the same disk. */
  live: z.string(),
  staged: z.string(),
  /** Where what stood there goes. */
  former: z.string(),
  hadLive: z.boolean(),
  /** True for a file on another disk, perhaps: its text is copied. */
  isText: z.boolean(),
});

const planSchema = z.object({
  /** `beside`: all that there is to do is to let go of what the fleet's Redis has beside the data in use. */
  phase: z.enum(['beside', 'swapping', 'done']),
  /** Parts that use what is swapped, in start order. */
  parts: z.array(z.string()),
  items: z.array(itemSchema),
  /** Of the restore, where the fleet's Redis exchanges its data too (exchange.ts). */
  exchangeId: z.string().nullable(),
  /** Of the restore, where the service's tables in PostgreSQL are replaced too (postgres-exchange.ts): what undoes that. */
  database: z
    .object({
      url: z.string(),
      id: z.string(),
      /** A dump of what stood there; null: nothing did. */
      former: z.string().nullable(),
      /** The mark of an earlier restore that stood there; empty: none. */
      mark: z.string().default(''),
    })
    .nullable()
    .default(null),
  /** Whether nothing was deployed here before: then nothing is after an undo. */
  isBare: z.boolean().default(false),
});

export type SwapItem = z.infer<typeof itemSchema>;
export type SwapDatabase = NonNullable<SwapPlan['database']>;
type SwapPlan = z.infer<typeof planSchema>;

const PRIVATE = { mode: 0o600, uid: 0, gid: 0 };

/** What stood before the last restore. */
export function formerFolder({ state }: Layout): string {
  return `${state}/before-restore`;
}

/** What restores that were undone had put in use, a folder for each: nobody knows what was written meanwhile. */
export function undoneFolder({ state }: Layout): string {
  return `${state}/undone-restore`;
}

/** Ends the name of what an undo has put aside. */
export const UNDONE = '.undone';

/** Where the former of what is swapped goes, until the restore is complete. */
export function asideFolder(layout: Layout): string {
  return `${stagingFolder(layout)}/former`;
}

function planFile(layout: Layout): string {
  return `${stagingFolder(layout)}/plan.json`;
}

/**
 * Puts everything in its place, by renames. Before the first one it is written down what will be done: whenever this ends, the next
 * command puts back what stood before (settleSwap).
 */
export async function swap(
  host: Host,
  layout: Layout,
  {
    items,
    parts,
    exchangeId,
    database,
    isBare,
  }: { items: readonly SwapItem[]; parts: readonly Part[]; exchangeId: string | null; database: SwapDatabase | null; isBare: boolean },
): Promise<void> {
  await host.makeFolder(asideFolder(layout), { mode: 0o700, uid: 0, gid: 0 });
  for (const item of items) {
    const text = item.isText && item.hadLive ? await host.read(item.live) : null;
    if (text !== null) await host.write(item.former, text.content, PRIVATE);
  }
  await writePlan(host, layout, { phase: 'swapping', parts: [...parts], items: [...items], exchangeId, database, isBare });
  for (const item of items) {
    if (item.isText) await host.write(item.live, (await host.read(item.staged))?.content ?? '', PRIVATE);
    else {
      if (item.hadLive) await host.move(item.live, item.former);
      await host.move(item.staged, item.live);
    }
  }
}

/** Before the fleet's Redis gets data beside those in use: should this end, the next command lets go of them. */
export async function noteBeside(host: Host, layout: Layout, exchangeId: string): Promise<void> {
  await writePlan(host, layout, { phase: 'beside', parts: [], items: [], exchangeId, database: null, isBare: false });
}

/** From now on, what has taken its place stays. */
export async function acceptSwap(host: Host, layout: Layout): Promise<void> {
  const plan = await readPlan(host, layout);
  if (plan !== null) await writePlan(host, layout, { ...plan, phase: 'done' });
}

/**
 * Sets the former of what was accepted aside for a person.
 * @param besideId of an exchange where the fleet's Redis still has what stood before beside its data
 */
export async function completeSwap(host: Host, layout: Layout, besideId: string | null = null): Promise<void> {
  if (await exists(host, stagingFolder(layout), 'former')) {
    await host.remove(formerFolder(layout));
    // Where nothing stood before, nothing was set aside.
    if ((await host.list(asideFolder(layout))).length > 0) await host.move(asideFolder(layout), formerFolder(layout));
  }
  await (besideId === null ? host.remove(stagingFolder(layout)) : noteBeside(host, layout, besideId));
}

/**
 * Puts back what stood before, as far as it had been replaced; the parts that use it do not run meanwhile. May be repeated after
 * it was killed.
 * @param options.keptAs name of the folder below undoneFolder that gets what was in use; null: nobody can have changed it, and it goes
 * @param options.onLost hears DISK_FULL where there was no space to keep something
 * @returns that folder's path, where there was anything
 */
export async function undoSwap(
  host: Host,
  layout: Layout,
  { keptAs, onLost }: { keptAs: string | null; onLost: (error: FleetError) => void },
): Promise<string | null> {
  const plan = await readPlan(host, layout);
  for (const item of (plan?.phase === 'swapping' ? plan.items : []).toReversed()) {
    const { live, staged, former, hadLive } = item;
    if (item.isText) await undoText(host, item, onLost);
    else if (await isThere(host, former)) {
      if (await isThere(host, live)) await host.move(live, `${former}${UNDONE}`);
      await host.move(former, live);
    } else if (!hadLive && !(await isThere(host, staged)) && (await isThere(host, live))) await host.move(live, `${former}${UNDONE}`);
  }
  const kept = keptAs === null ? null : await keepUndone(host, layout, keptAs);
  await host.remove(planFile(layout));
  await host.remove(stagingFolder(layout));
  return kept;
}

async function undoText(host: Host, { live, former, hadLive }: SwapItem, onLost: (error: FleetError) => void): Promise<void> {
  const [text, now] = [await host.read(former), await host.read(live)];
  if (text === null && hadLive) return;
  // Once it is back it is not what was undone.
  if (now !== null && now.content !== text?.content)
    await host.write(`${former}${UNDONE}`, now.content, PRIVATE).catch((error: unknown) => {
      if (!(error instanceof FleetError && error.code === 'DISK_FULL')) throw error;
      onLost(error);
    });
  await (text === null ? host.remove(live) : host.write(live, text.content, PRIVATE));
}

/** One rename, once nothing else is in the folder. */
async function keepUndone(host: Host, layout: Layout, name: string): Promise<string | null> {
  const names = await host.list(asideFolder(layout));
  if (!names.some((one) => one.endsWith(UNDONE))) return null;
  for (const one of names) if (!one.endsWith(UNDONE)) await host.remove(`${asideFolder(layout)}/${one}`);
  const kept = `${undoneFolder(layout)}/${name}`;
  await host.makeFolder(undoneFolder(layout), { mode: 0o700, uid: 0, gid: 0 });
  await host.move(asideFolder(layout), kept);
  return kept;
}

/** What a restore has written down that did not come to its end: `swapping` is undone, `done` completed; null: nothing of it is in use. */
export async function unfinishedSwap(host: Host, layout: Layout): Promise<(Omit<SwapPlan, 'parts'> & { readonly parts: readonly Part[] }) | null> {
  const plan = await readPlan(host, layout);
  return plan === null ? null : { ...plan, parts: plan.parts as Part[] };
}

async function readPlan(host: Host, layout: Layout): Promise<SwapPlan | null> {
  const found = await host.read(planFile(layout));
  return found === null ? null : parseJson(planSchema, found.content);
}

function writePlan(host: Host, layout: Layout, plan: SwapPlan): Promise<void> {
  return host.write(planFile(layout), `${JSON.stringify(plan)}\n`, PRIVATE);
}

async function isThere(host: Host, path: string): Promise<boolean> {
  const at = path.lastIndexOf('/');
  return exists(host, path.slice(0, at), path.slice(at + 1));
}

async function exists(host: Host, folder: string, name: string): Promise<boolean> {
  return (await host.list(folder)).includes(name);
}
