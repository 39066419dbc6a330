import { probeAll } from '../health/probe.ts';
import type { Health } from '../health/probe.ts';
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
 * Writes the plan's files, starts and restarts its parts, and waits for health. When health is not reached, the former
 * files are put back, the parts restarted with them, and NOT_HEALTHY is thrown with the last log lines.
 */
export async function applyPlan(changes: readonly Change[], context: ApplyContext): Promise<void> {
  const { manager, topology, emit, now } = context;
  await makeFolders(context);
  const writes = changes.filter((change) => change.kind === 'create' || change.kind === 'update');
  const former = await Promise.all(writes.map(async ({ file }) => ({ file, before: await context.host.read(file.path) })));
  const began = now();
  for (const { file, content } of writes) await write(context, file.path, content, { mode: file.mode, isService: file.owner === 'service' });
  if (writes.length > 0) emit({ kind: 'step-finished', id: 'files', ms: now() - began, detail: String(writes.length) });
  await manager.activate();
  const moves = changes.filter((change) => change.kind === 'start' || change.kind === 'restart');
  for (const change of moves) await move(context, change.kind, change.part, change.fingerprint);
  emit({ kind: 'step-started', id: 'health', code: 'STEP_HEALTH' });
  const waited = now();
  const missing = await awaitHealth(context);
  if (missing.length === 0) {
    emit({ kind: 'step-finished', id: 'health', ms: now() - waited });
    return;
  }
  const part = missing[0]?.part ?? 'caddy';
  const log = await tailLog(context.host, topology, { part, lines: 8 });
  for (const { file, before } of former) {
    if (before === null) continue;
    await write(context, file.path, before.content, { mode: before.mode, isService: file.owner === 'service' });
  }
  for (const change of moves) if (former.some(({ before }) => before !== null)) await manager.restart(change.part);
  await writeApplied(context, {});
  throw new FleetError('NOT_HEALTHY', { seconds: context.settings.HEALTH_TIMEOUT, parts: missing.map((one) => `${one.part} (${one.detail})`).join(', '), log });
}

async function move(context: ApplyContext, kind: 'start' | 'restart', part: Part, fingerprint: string): Promise<void> {
  await (kind === 'start' ? context.manager.start(part) : context.manager.restart(part));
  await writeApplied(context, { ...(await readApplied(context.host, context.topology)), [part]: fingerprint });
  context.emit({ kind: 'step-finished', id: part, ms: 0, detail: kind });
}

/** Polls every 50 ms until all parts are well; gives those that are not when HEALTH_TIMEOUT is over. */
async function awaitHealth(context: ApplyContext): Promise<Health[]> {
  const deadline = context.now() + context.settings.HEALTH_TIMEOUT * 1000;
  for (;;) {
    const sick = (await probeAll(context.settings, context.topology)).filter((one) => !one.ok);
    if (sick.length === 0 || context.now() > deadline) return sick;
    context.signal.throwIfAborted();
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
