import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { logFile, tailLog } from '../apply/tail-log.ts';
import { probeAll } from '../health/probe.ts';
import { withLock } from '../host/lock.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { loadSettings, requireRoot } from './context.ts';
import type { CliContext } from './context.ts';
import { deploy } from './deploy.ts';
import { openManager } from './prepare.ts';

function deployed(context: CliContext): { settings: Settings; topology: Topology } {
  const { settings, topology } = loadSettings(context);
  if (!existsSync(`${topology.layout.run}/applied.json`)) throw new FleetError('NOT_DEPLOYED', { path: topology.layout.root });
  return { settings, topology };
}

function partNamed(topology: Topology, name: string): Part {
  const part = topology.parts.find((one) => one === name);
  if (part === undefined) throw new FleetError('UNKNOWN_PART', { part: name, known: topology.parts.join(', ') }, { exitCode: 2 });
  return part;
}

/** Starts what is stopped, from the files that stand; waits for health. */
export async function start(context: CliContext): Promise<void> {
  deployed(context);
  await deploy(context, { isDryRun: false });
}

/** Stops every part and its supervision; no process is left. */
export async function stop(context: CliContext): Promise<void> {
  requireRoot('stop');
  const { settings, topology } = deployed(context);
  await withLock(topology.layout.lock, 'stop', async () => {
    const manager = await openManager(context, settings, topology);
    await manager.stopAll(topology.parts);
    context.reporter.say('STOPPED');
    context.reporter.result({ stopped: topology.parts });
  });
}

/** Restarts one part, or all in start order. */
export async function restart(context: CliContext, name: string | undefined): Promise<void> {
  requireRoot('restart');
  const { settings, topology } = deployed(context);
  const parts = name === undefined ? topology.parts : [partNamed(topology, name)];
  await withLock(topology.layout.lock, 'restart', async () => {
    const manager = await openManager(context, settings, topology);
    await manager.activate();
    for (const part of parts) {
      await manager.restart(part);
      context.reporter.line(`  ↻ ${part}`);
    }
    context.reporter.result({ restarted: parts });
  });
}

/** A line per part: state, pid, how long, health, how often it ended. Exit code 1 when something is not well. */
export async function status(context: CliContext): Promise<number> {
  const { settings, topology } = deployed(context);
  const manager = await openManager(context, settings, topology);
  const [states, healths] = await Promise.all([Promise.all(topology.parts.map((part) => manager.status(part))), probeAll(settings, topology)]);
  const rows = states.map((one) => ({ ...one, health: healths.find((health) => health.part === one.part) }));
  for (const { part, state, pid, uptimeSeconds, exits, lastExit, health } of rows) {
    const mark = health?.ok === true ? '✓' : '✗';
    const ended = lastExit === null ? '' : `  exits ${exits}, last ${lastExit}`;
    context.reporter.line(
      `${mark} ${part.padEnd(9)} ${state.padEnd(8)} pid ${String(pid ?? '-').padEnd(7)} ${String(uptimeSeconds ?? '-').padStart(7)} s  ${health?.detail ?? ''}${ended}`,
    );
  }
  const isWell = rows.every((row) => row.health?.ok === true);
  context.reporter.result({ ok: isWell, machine: topology.machine, parts: rows });
  return isWell ? 0 : 1;
}

/** Prints a part's log (all parts one after the other without a name); follows it with `isFollowing`. */
export async function logs(context: CliContext, options: { part: string | undefined; lines: number; isFollowing: boolean }): Promise<void> {
  const { topology } = deployed(context);
  const parts = options.part === undefined ? topology.parts : [partNamed(topology, options.part)];
  if (!options.isFollowing) {
    for (const part of parts) {
      if (parts.length > 1) context.reporter.line(`==> ${part} <==`);
      context.reporter.line(await tailLog(context.host, topology, { part, lines: options.lines }));
    }
    return;
  }
  const child = spawn('tail', ['-n', String(options.lines), '-F', ...parts.map((part) => logFile(topology, part))], { stdio: ['ignore', 'inherit', 'ignore'] });
  context.signal.addEventListener('abort', () => child.kill());
  await once(child, 'exit');
}
