import { existsSync } from 'node:fs';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appliedFile } from '../apply/observe.ts';
import { stopLivekit } from '../apply/drain.ts';
import { viewFleet } from '../apply/ask-fleet.ts';
import { checkPorts } from '../apply/ports.ts';
import { awaitHealth, checkParts } from '../health/await-health.ts';
import type { HealthContext } from '../health/await-health.ts';
import type { FleetView } from '../clients/sentinel.ts';
import { isReachable } from '../contract/node-record.ts';
import { awaitCertificate } from '../health/certificate.ts';
import { withLock } from '../host/lock.ts';
import { findUser } from '../host/service-user.ts';
import { FleetError } from '../kernel/errors.ts';
import { translateDetail } from '../kernel/messages/details.ts';
import { translate } from '../kernel/messages/translate.ts';
import { innerPorts } from '../render/firewall.ts';
import { alignRows } from '../report/columns.ts';
import type { Settings } from '../settings/schema.ts';
import type { PartStatus } from '../supervisor/service-manager.ts';
import { livekitStopSeconds } from '../topology/part-spec.ts';
import { inRestartOrder, roleFile } from '../topology/topology.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { describeCertificate, isInForce } from './certificate-line.ts';
import { awaitWell } from './await-well.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { recorded } from './journal.ts';
import { followAsJson } from './follow.ts';
import { makeWay } from './make-way.ts';
import type { WayOptions } from './make-way.ts';
import { openManager } from './prepare.ts';
import { sayRestoreState } from './restore-state.ts';
import { settleRestore } from './settle-restore.ts';

/** Settings and topology of a machine that is deployed, or with `isRemnantEnough` was. @throws FleetError NOT_DEPLOYED */
export function deployed(context: CliContext, { isRemnantEnough = false } = {}): { settings: Settings; topology: Topology } {
  const { settings, topology } = loadSettings(context);
  const { layout } = topology;
  const signs = [appliedFile(topology), ...(isRemnantEnough ? [roleFile(layout), layout.state, layout.logs] : [])];
  if (!signs.some((path) => existsSync(path))) throw new FleetError('NOT_DEPLOYED', { path: layout.root });
  return { settings, topology };
}

function partsNamed(topology: Topology, name: string | undefined): readonly Part[] {
  return name === undefined ? topology.parts : [partNamed(topology, name)];
}

function partNamed(topology: Topology, name: string): Part {
  const part = topology.parts.find((one) => one === name);
  if (part === undefined) throw new FleetError('UNKNOWN_PART', { part: name, known: topology.parts.join(', ') }, { exitCode: 2 });
  return part;
}

/** Starts one part, or all that are stopped, from the files that stand; waits until they are well. */
export async function start(context: CliContext, name: string | undefined): Promise<void> {
  await change(context, 'start', async (deployment, hasSettled) => {
    const { settings, topology, manager } = deployment;
    const parts = partsNamed(topology, name);
    const idle = (await checkStopped(context, deployment)).filter((one) => parts.includes(one.part));
    // What a command that was interrupted has left: it comes when its people have left.
    const drains = idle.some((one) => one.part === 'livekit' && one.state === 'stopping');
    const isAwaited = (part: Part): boolean => !(drains && part === 'livekit');
    const stopped = idle.map((one) => one.part).filter(isAwaited);
    const waiting = await partsToAwait(deployment, parts.filter(isAwaited));
    await manager.activate({ isChanged: false });
    if (drains) await manager.beginStart('livekit');
    for (const part of stopped) await manager.start(part);
    await awaitHealth({ ...deployment, parts: waiting, now: context.now, signal: context.signal });
    if (hasSettled && waiting.includes('livekit')) await awaitWell(context, { ...deployment, parts: waiting });
    if (drains) context.reporter.emit({ kind: 'note', code: 'DRAINS_ON', params: { seconds: livekitStopSeconds(settings) } });
    if (stopped.length === 0) context.reporter.say('ALREADY_RUNNING', { parts: parts.join(', ') });
    else context.reporter.say('STARTED', { parts: stopped.join(', ') });
    context.reporter.result({ started: stopped });
  });
}

/** Stops one part until it is started again; without a name every part and its supervision, and no process is left. */
export async function stop(context: CliContext, name: string | undefined, options: WayOptions): Promise<void> {
  await change(context, 'stop', async (deployment) => {
    const { topology, manager } = deployment;
    const parts = partsNamed(topology, name);
    await endLivekit(context, deployment, { parts, options });
    await (name === undefined ? manager.stopAll() : manager.stop(partNamed(topology, name)));
    context.reporter.say('STOPPED', { parts: parts.join(', ') });
    context.reporter.result({ stopped: parts });
  });
}

/** Restarts one part, or all in start order, and waits until they are well. */
export async function restart(context: CliContext, name: string | undefined, options: WayOptions): Promise<void> {
  await change(context, 'restart', async (deployment, hasSettled) => {
    const { topology, manager } = deployment;
    const parts = partsNamed(topology, name);
    const waiting = await partsToAwait(deployment, parts);
    await checkStopped(context, deployment);
    await manager.activate({ isChanged: false });
    await endLivekit(context, deployment, { parts, options });
    for (const part of inRestartOrder(parts)) {
      await manager.restart(part);
      context.reporter.line(`  ↻ ${part}`);
    }
    await awaitHealth({ ...deployment, parts: waiting, now: context.now, signal: context.signal });
    if (hasSettled && waiting.includes('livekit')) await awaitWell(context, { ...deployment, parts: waiting });
    context.reporter.say('RESTARTED', { parts: parts.join(', ') });
    context.reporter.result({ restarted: parts });
  });
}

/** Ends a LiveKit that people are in, with the care that they are owed. */
export async function endLivekit(
  context: CliContext,
  deployment: HealthContext,
  { parts, options }: { parts: readonly Part[]; options: WayOptions },
): Promise<void> {
  const { settings, topology } = deployment;
  if (!parts.includes('livekit')) return;
  const { deadlineMs, fleet } = await makeWay(context, settings, topology, options);
  if (deadlineMs === null) return;
  try {
    await stopLivekit({ ...deployment, emit: context.reporter.emit, now: context.now, signal: context.signal }, { deadlineMs, fleet });
  } catch (error) {
    if (error === context.signal.reason) await deployment.manager.beginStart('livekit');
    throw error;
  }
}

/**
 * The parts that do not run.
 * @throws FleetError PORT_TAKEN where another program has the port of one of them: the others would send it their password
 */
async function checkStopped({ host, signal }: CliContext, { settings, topology, manager }: HealthContext): Promise<PartStatus[]> {
  const idle = (await manager.status(topology.parts)).filter((one) => one.state !== 'running');
  // One that keeps ending may have its own port for a moment; what is wrong with it, health will say.
  const starting = new Set(idle.filter((one) => one.state === 'stopped').map((one) => one.part));
  await checkPorts(host, settings, { topology, manager, starting, signal });
  return idle;
}

/** What Caddy needs to lead anybody to this machine's LiveKit. */
const LEADING: readonly Part[] = ['redis', 'sentinel', 'livekit', 'agent'];
/** What Caddy says where it leads to no LiveKit. */
const LEADS_NOWHERE = /^HTTP 50[234]$/;

/**
 * Those named, and those that are well now: Caddy finds a restarted LiveKit a moment later than it is there, also one that it had
 * long missed, where nothing else is in its way.
 */
async function partsToAwait(deployment: HealthContext, named: readonly Part[]): Promise<readonly Part[]> {
  const { parts } = deployment.topology;
  const seen = await checkParts(deployment, parts);
  const awaited = new Set([...named, ...seen.filter((one) => one.health.ok).map((one) => one.part)]);
  const mayLead = named.includes('livekit') && LEADING.every((part) => awaited.has(part) || !parts.includes(part));
  if (mayLead && seen.some((one) => one.part === 'caddy' && LEADS_NOWHERE.test(one.health.detail))) awaited.add('caddy');
  return parts.filter((part) => awaited.has(part));
}

/**
 * Runs a command that changes what runs: as root, under the lock, on a machine that is deployed, or with `isRemnantEnough` was.
 * With `isGivenUp`, a restore that was broken off is undone without whoever cannot be reached for that.
 * `work` hears whether what a restore had left was settled first: parts that used it are stopped then.
 */
export async function change(
  context: CliContext,
  command: string,
  work: (deployment: HealthContext, hasSettled: boolean) => Promise<void>,
  { isRemnantEnough = false, isGivenUp = false } = {},
): Promise<void> {
  requireRoot(command);
  const before = deployed(context, { isRemnantEnough });
  await withLock(before.topology.layout.lock, command, async () => {
    const hasSettled = (await settleRestore(context, { ...before, isGivenUp })) !== null;
    const { settings, topology } = hasSettled ? deployed(context, { isRemnantEnough }) : before;
    await recorded(context, { settings, topology }, async () => work(await healthContext(context, settings, topology), hasSettled));
  });
}

async function healthContext(context: CliContext, settings: Settings, topology: Topology): Promise<HealthContext> {
  const [manager, user] = await Promise.all([openManager(context, settings, topology), findUser(context.host, settings.SERVICE_USER)]);
  return { settings, topology, manager, user };
}

/** A line per part: state, pid, how long, health, how often it ended. Exit code 1 when something is not well. */
export async function status(context: CliContext): Promise<number> {
  requireRoot('status');
  const { settings, topology } = deployed(context);
  const deployment = await healthContext(context, settings, topology);
  const rows = await checkParts(deployment, topology.parts);
  const { language } = context;
  const lines = rows.map(({ part, state, pid, uptimeSeconds, exits, lastExit, health }) => [
    `${health.ok ? '✓' : '✗'} ${part}`,
    translateDetail(language, state),
    `pid ${pid ?? '-'}`,
    `${uptimeSeconds ?? '-'} s`,
    // It says by itself that something went wrong.
    translateDetail(language, health.detail.replace(/^✗ /, '')),
    ...(lastExit === null ? [] : [translate(language, 'STATUS_EXITS', { count: exits, last: lastExit })]),
  ]);
  for (const line of alignRows(lines, { right: [3] })) context.reporter.line(line);
  if (topology.firewall === 'no-nft') context.reporter.say('FIREWALL_NO_NFT', { ports: innerPorts(settings, topology).join(', ') });
  const restores = await sayRestoreState(context, topology);
  const arePartsWell = rows.every((row) => row.health.ok) && !restores.isUnfinished;
  const fleet = topology.redisHosts.length === 0 ? null : await viewFleet(context.host, settings, topology);
  sayFleet(context, topology, fleet);
  const { manager } = deployment;
  if (topology.role === 'media') {
    context.reporter.result({ ok: arePartsWell, machine: topology.machine, role: topology.role, parts: rows, fleet, restores });
    return arePartsWell ? 0 : 1;
  }
  const certificate = await awaitCertificate({ settings, manager, patienceMs: 0, since: 0, now: context.now, signal: context.signal });
  context.reporter.line(describeCertificate(context, certificate, { settings, topology }));
  const isWell = isInForce(certificate) && arePartsWell;
  context.reporter.result({ ok: isWell, machine: topology.machine, role: topology.role, parts: rows, certificate, fleet, restores });
  return isWell ? 0 : 1;
}

/** A line about Redis and one per media machine. */
function sayFleet({ reporter, language }: CliContext, topology: Topology, fleet: FleetView | null): void {
  if (fleet === null) return reporter.say(topology.redisHosts.length === 0 ? 'WAITING_FOR_MEDIA' : 'FLEET_SILENT');
  const { primary, replicas, sentinels, quorum, registry } = fleet;
  reporter.say('FLEET', { primary: primary.host, replicas, sentinels, quorum });
  const rows = (registry?.records ?? []).map((record) => {
    const isUp = isReachable(record, registry?.nowMs ?? 0);
    const age = Math.max(0, Math.round(((registry?.nowMs ?? 0) - record.updatedAtMs) / 1000));
    const self = record.machine === topology.machine ? '←' : '';
    return [`${isUp ? '✓' : '✗'} ${record.machine}`, translateDetail(language, record.state), record.signalling, record.version, `${age} s`, self];
  });
  for (const line of alignRows(rows, { right: [4] })) reporter.line(line);
}

/** Prints a part's log (all parts one after the other without a name); follows it with `isFollowing`. */
export async function logs(context: CliContext, options: { part: string | undefined; lines: number; isFollowing: boolean; isJson: boolean }): Promise<void> {
  requireRoot('logs');
  const { settings, topology } = deployed(context);
  const manager = await openManager(context, settings, topology);
  const parts = partsNamed(topology, options.part);
  if (!options.isFollowing) {
    for (const part of parts) {
      if (parts.length > 1) context.reporter.line(`==> ${part} <==`);
      const text = await manager.tailLog(part, options.lines);
      context.reporter.line(text);
      context.reporter.result({ part, lines: text === '' ? [] : text.split('\n') });
    }
    return;
  }
  if (options.isJson) return followAsJson(context, manager, { parts, lines: options.lines });
  const [program = '', ...words] = manager.followLogs(parts, options.lines);
  const child = spawn(program, words, { stdio: ['ignore', 'inherit', 'ignore'] });
  context.signal.addEventListener('abort', () => child.kill());
  await once(child, 'exit');
}
