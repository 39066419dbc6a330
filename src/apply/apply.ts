import { awaitHealth } from '../health/await-health.ts';
import type { Host, StagedFile } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Emit } from '../kernel/events.ts';
import type { Change, Desired } from '../plan/plan.ts';
import type { RenderedFile } from '../render/rendered-file.ts';
import type { Settings } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import { inRestartOrder } from '../topology/topology.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { stopLivekit } from './drain.ts';
import { allowTrial, confirmFirewall, forgetFirewall, whoReachesUs } from './firewall.ts';
import { appliedFile, readApplied } from './observe.ts';

/** What applying needs. */
export interface ApplyContext {
  readonly host: Host;
  readonly settings: Settings;
  readonly topology: Topology;
  readonly manager: ServiceManager;
  readonly user: { uid: number; gid: number };
  readonly emit: Emit;
  readonly now: () => number;
  readonly signal: AbortSignal;
  /** Hears of each part when it is first found well. */
  readonly onWell?: (part: Part) => void;
  /** How a LiveKit that is restarted or retired ends; see stopLivekit. */
  readonly way: { readonly deadlineMs: number | null; readonly fleet: FleetView | null };
}

type FileChange = Extract<Change, { kind: 'create' | 'update' }>;
type PartChange = Exclude<Change, FileChange>;

/**
 * Writes the plan's files, starts and restarts its parts, and waits for health. All files are written before the first one is
 * seen, and those that replace others are on the disk itself; for the new ones that is awaited with health. When a part cannot be started or health is not reached, the former files are put back, parts that ran run
 * with them again, and parts that did not run are stopped: so new firewall rules that cut another machine off are gone again.
 * @throws FleetError NOT_HEALTHY, FIREWALL_CUTS_OFF, DISK_FULL, PART_NOT_CONTROLLED
 */
export async function applyPlan(desired: Desired, changes: readonly Change[], context: ApplyContext): Promise<void> {
  const { manager, emit, now } = context;
  await makeFolders(context);
  const began = now();
  const former = await readApplied(context.host, context.topology);
  const files = await stageAll(
    context,
    changes.filter((change) => change.kind === 'create' || change.kind === 'update'),
  );
  const moves = changes.filter((change) => change.kind !== 'create' && change.kind !== 'update');
  const moved = new Set<PartChange>();
  const isFirewallNew = moves.some(({ part, kind }) => part === 'firewall' && kind !== 'retire');
  const whoReached = isFirewallNew ? await whoReachesUs(context) : [];
  try {
    for (const file of files) await file.commit();
    // Not before: while the disk takes one file, making the next one waits. Nor later: then those that start would wait for it.
    const onDisk = Promise.all(files.map((file) => file.settled()));
    onDisk.catch(() => undefined);
    if (files.length > 0) emit({ kind: 'step-finished', id: 'files', ms: now() - began, detail: String(files.length) });
    if (isFirewallNew) await allowTrial(context);
    await manager.activate({ isChanged: changes.length > 0 });
    await moveAll(context, moves, moved);
    emit({ kind: 'step-started', id: 'health', code: 'STEP_HEALTH' });
    const waited = now();
    await awaitHealth(context);
    await onDisk;
    if (isFirewallNew) await confirmFirewall(context, whoReached);
    emit({ kind: 'step-finished', id: 'health', ms: now() - waited });
  } catch (error) {
    await rollBack(context, { files, moves, moved, former });
    throw error;
  }
  await context.host.settle(desired.files.map((file) => file.path));
}

/** All texts beside their targets, or none of them. */
async function stageAll(context: ApplyContext, writes: readonly FileChange[]): Promise<StagedFile[]> {
  // Copies, which other threads make, are begun first; the texts are written meanwhile.
  const inOrder = writes.toSorted((a, b) => Number(b.file.copyOf !== undefined) - Number(a.file.copyOf !== undefined));
  const results = await Promise.allSettled(inOrder.map(({ file, content }) => stage(context, file, content)));
  const staged = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const failed = results.find((one) => one.status === 'rejected');
  if (failed === undefined) return staged;
  for (const one of staged) await one.revert();
  throw failed.reason;
}

function stage({ host, user }: ApplyContext, file: RenderedFile, content: string): Promise<StagedFile> {
  return host.stage(file.path, file.copyOf === undefined ? content : { copyOf: file.copyOf }, {
    mode: file.mode,
    uid: file.owner === 'service' ? user.uid : 0,
    gid: user.gid,
  });
}

/** Parts that do not run are started side by side; the others are stopped and restarted one after the other. `moved` gets each that was touched. */
async function moveAll(context: ApplyContext, moves: readonly PartChange[], moved: Set<PartChange>): Promise<void> {
  await forgetFingerprints(context, moves);
  await Promise.all(moves.filter((change) => change.kind === 'start').map((change) => move(context, change, moved)));
  await endBeforeRedis(context, moves, moved);
  const others = new Map(moves.filter((change) => change.kind !== 'start').map((change) => [change.part, change]));
  for (const part of inRestartOrder([...others.keys()])) {
    const change = others.get(part);
    if (change !== undefined) await move(context, change, moved);
  }
  if (moves.length === 0) return;
  const applied = await readApplied(context.host, context.topology);
  for (const change of moves) {
    if (change.kind === 'retire') delete applied[change.part];
    else applied[change.part] = change.fingerprint;
  }
  await writeApplied(context, applied);
}

/** Should this run be killed, the next one does not take a part for started from files that it was not started from. */
async function forgetFingerprints(context: ApplyContext, moves: readonly PartChange[]): Promise<void> {
  const applied = await readApplied(context.host, context.topology);
  const stale = moves.map(({ part }) => part).filter((part) => (applied[part] ?? '') !== '');
  if (stale.length === 0) return;
  await writeApplied(context, { ...applied, ...withoutFingerprint(stale) });
}

/** A LiveKit that has lost its Redis does not end by itself: where both are restarted it ends first. */
async function endBeforeRedis(context: ApplyContext, moves: readonly PartChange[], moved: Set<PartChange>): Promise<void> {
  const ending = moves.filter((change) => change.kind !== 'start');
  const livekit = ending.find((change) => change.part === 'livekit');
  if (livekit === undefined || !ending.some(({ part }) => part === 'redis' || part === 'sentinel')) return;
  const { deadlineMs, fleet } = context.way;
  if (deadlineMs === null) await context.manager.stop('livekit');
  else await stopLivekit(context, { deadlineMs, fleet });
  moved.add(livekit);
}

async function move(context: ApplyContext, change: PartChange, moved: Set<PartChange>): Promise<void> {
  const { host, topology, manager, emit, now, way } = context;
  const began = now();
  if (change.part === 'livekit' && change.kind !== 'start' && way.deadlineMs !== null) {
    // Until it has ended it is not touched: one that is left draining goes on with the files that it was started from.
    await stopLivekit(context, { deadlineMs: way.deadlineMs, fleet: way.fleet });
    moved.add(change);
    await (change.kind === 'retire' ? manager.retire(change.part) : manager.start(change.part));
  } else {
    moved.add(change);
    await manager[change.kind](change.part);
  }
  if (change.kind === 'retire' && change.part === 'firewall') await forgetFirewall(host, topology);
  emit({ kind: 'step-finished', id: change.part, ms: now() - began, detail: change.kind });
}

async function rollBack(
  context: ApplyContext,
  {
    files,
    moves,
    moved,
    former,
  }: { files: readonly StagedFile[]; moves: readonly PartChange[]; moved: ReadonlySet<PartChange>; former: Partial<Record<Part, string>> },
): Promise<void> {
  const { manager } = context;
  const mayDrain = moves.some((change) => change.part === 'livekit' && change.kind !== 'start' && !moved.has(change));
  const touched = (kind: PartChange['kind']): Part[] => [...moved].filter((change) => change.kind === kind).map(({ part }) => part);
  const [started, restarted] = [touched('start'), touched('restart')];
  // Before its files are back: its supervisor would start the former one in the meantime, and that would be ended as well.
  const isEnded = restarted.includes('livekit') && (await endLivekit(context));
  try {
    for (const file of files) await file.revert();
    await manager.activate({ isChanged: true });
  } finally {
    // Not before: it may end at any time, and starts with the files that stand then.
    if (mayDrain) await manager.beginStart('livekit');
  }
  // Parts that the files of now do not explain get an empty fingerprint: the next run starts them anew, whatever becomes of this one.
  await writeApplied(context, { ...former, ...withoutFingerprint([...started, ...restarted]) });
  // A LiveKit that loses its Redis does not end by itself.
  for (const part of inRestartOrder(context.topology.parts)) {
    if (restarted.includes(part)) await (part === 'livekit' && isEnded ? manager.start(part) : manager.restart(part));
  }
  for (const part of started.toReversed()) await manager.stop(part);
  await writeApplied(context, { ...former, ...withoutFingerprint(started) });
  context.emit({ kind: 'note', code: 'ROLLED_BACK' });
}

function withoutFingerprint(parts: readonly Part[]): Partial<Record<Part, string>> {
  return Object.fromEntries(parts.map((part) => [part, '']));
}

/**
 * A LiveKit ends at once here: who is in it already comes back by itself then. Nor would asking do where it keeps ending and being
 * started: in its first moments LiveKit (1.13) takes SIGTERM without ending (pkg/service/server.go, Stop before `running`).
 * False where its supervisor does not do it: then the files come back all the same.
 */
async function endLivekit(context: ApplyContext): Promise<boolean> {
  try {
    // The command that is undone may have been told to end; this has to be done all the same.
    await stopLivekit({ ...context, signal: AbortSignal.any([]) }, { deadlineMs: 0, fleet: null });
    return true;
  } catch (error) {
    if (error instanceof FleetError) return false;
    throw error;
  }
}

async function makeFolders({ host, topology, user }: ApplyContext): Promise<void> {
  const { layout } = topology;
  const root = { mode: 0o750, uid: 0, gid: user.gid };
  // Root runs what lies in `run`: only root may write there.
  for (const path of [layout.root, layout.config, layout.state, layout.logs, layout.app, layout.run]) await host.makeFolder(path, root);
  for (const part of topology.parts) {
    await host.makeFolder(`${layout.state}/${part}`, { mode: 0o750, uid: user.uid, gid: user.gid });
    await host.makeFolder(`${layout.logs}/${part}`, root);
  }
}

async function writeApplied({ host, user, topology }: ApplyContext, applied: Partial<Record<Part, string>>): Promise<void> {
  await host.write(appliedFile(topology), `${JSON.stringify(applied)}\n`, { mode: 0o640, uid: 0, gid: user.gid });
}
