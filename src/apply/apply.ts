import { probeAll } from '../health/probe.ts';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Emit } from '../kernel/events.ts';
import type { Change } from '../plan/plan.ts';
import type { Settings } from '../settings/schema.ts';
import type { ServiceManager } from '../supervisor/processes.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { appliedFile, readApplied } from './observe.ts';
import { tailLog } from './tail-log.ts';

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
}

/**
 * Writes the plan's files, starts and restarts its parts, and waits for health. When a part cannot be started or health
 * is not reached, the former files are put back and the parts restarted with them.
 * @throws FleetError NOT_HEALTHY, DISK_FULL, PART_NOT_CONTROLLED
 */
export async function applyPlan(changes: readonly Change[], context: ApplyContext): Promise<void> {
  const { manager, emit, now } = context;
  await makeFolders(context);
  const writes = changes.filter((change) => change.kind === 'create' || change.kind === 'update');
  const former = await Promise.all(writes.map(async ({ file }) => ({ file, before: await context.host.read(file.path) })));
  const began = now();
  for (const { file, content } of writes) await write(context, file.path, content, { mode: file.mode, isService: file.owner === 'service' });
  if (writes.length > 0) emit({ kind: 'step-finished', id: 'files', ms: now() - began, detail: String(writes.length) });
  await manager.activate();
  const moves = changes.filter((change) => change.kind === 'start' || change.kind === 'restart');
  try {
    for (const change of moves) await move(context, change.kind, change.part, change.fingerprint);
    emit({ kind: 'step-started', id: 'health', code: 'STEP_HEALTH' });
    const waited = now();
    await awaitHealth(context);
    emit({ kind: 'step-finished', id: 'health', ms: now() - waited });
  } catch (error) {
    await rollBack(context, former, moves);
    throw error;
  }
}

/** Puts the files that were there before back and restarts what had been touched; a first deploy's files stay for reading. */
async function rollBack(
  context: ApplyContext,
  former: ReadonlyArray<{ file: { path: string; owner: string }; before: { content: string; mode: number } | null }>,
  moves: ReadonlyArray<{ part: Part }>,
): Promise<void> {
  // Forgotten fingerprints make the next run start these parts anew, whatever becomes of this one.
  await writeApplied(context, {});
  const restored = former.filter(({ before }) => before !== null);
  for (const { file, before } of restored) {
    if (before !== null) await write(context, file.path, before.content, { mode: before.mode, isService: file.owner === 'service' });
  }
  if (restored.length > 0) for (const { part } of moves) await context.manager.restart(part);
}

async function move(context: ApplyContext, kind: 'start' | 'restart', part: Part, fingerprint: string): Promise<void> {
  await (kind === 'start' ? context.manager.start(part) : context.manager.restart(part));
  await writeApplied(context, { ...(await readApplied(context.host, context.topology)), [part]: fingerprint });
  context.emit({ kind: 'step-finished', id: part, ms: 0, detail: kind });
}

/** Polls every 50 ms until all parts are well; throws NOT_HEALTHY with the first sick part's last log lines after HEALTH_TIMEOUT. */
async function awaitHealth(context: ApplyContext): Promise<void> {
  const seconds = context.settings.HEALTH_TIMEOUT;
  const deadline = context.now() + seconds * 1000;
  for (;;) {
    const sick = (await probeAll(context.settings, context.topology)).filter((one) => !one.ok);
    if (sick.length === 0) return;
    context.signal.throwIfAborted();
    if (context.now() > deadline) {
      const log = await tailLog(context.host, context.topology, { part: sick[0]?.part ?? 'caddy', lines: 8 });
      throw new FleetError('NOT_HEALTHY', { seconds, parts: sick.map((one) => `${one.part} (${one.detail})`).join(', '), log });
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
}

async function makeFolders({ host, topology, user }: ApplyContext): Promise<void> {
  const { layout } = topology;
  const root = { mode: 0o750, uid: 0, gid: user.gid };
  for (const path of [layout.root, layout.config, layout.state, layout.logs, layout.app]) await host.makeFolder(path, root);
  await host.makeFolder(layout.run, { mode: 0o770, uid: 0, gid: user.gid });
  for (const part of topology.parts) {
    await host.makeFolder(`${layout.state}/${part}`, { mode: 0o750, uid: user.uid, gid: user.gid });
    await host.makeFolder(`${layout.logs}/${part}`, root);
  }
}

async function write({ host, user }: ApplyContext, path: string, content: string, options: { mode: number; isService: boolean }): Promise<void> {
  try {
    await host.write(path, content, { mode: options.mode, uid: options.isService ? user.uid : 0, gid: user.gid });
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOSPC') throw new FleetError('DISK_FULL', { path }, { cause: error });
    throw error;
  }
}

async function writeApplied(context: ApplyContext, applied: Partial<Record<Part, string>>): Promise<void> {
  await write(context, appliedFile(context.topology), `${JSON.stringify(applied)}\n`, { mode: 0o640, isService: false });
}
