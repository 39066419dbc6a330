import { setTimeout as sleep } from 'node:timers/promises';
import { viewFleet } from '../apply/ask-fleet.ts';
import { openLivekitRooms } from '../clients/livekit-rooms.ts';
import { drillFaults, isDrillName, measureDrill } from '../contract/drill.ts';
import type { DrillFault, DrillLimits, DrillMeasures, DrillName } from '../contract/drill.ts';
import type { NodeRecord } from '../contract/node-record.ts';
import { awaitHealth } from '../health/await-health.ts';
import type { HealthContext } from '../health/await-health.ts';
import { FleetError } from '../kernel/errors.ts';
import type { TextCode } from '../kernel/messages/en.ts';
import { translate } from '../kernel/messages/translate.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import { requireRoot } from './become-root.ts';
import type { CliContext } from './context.ts';
import { change, deployed } from './control.ts';
import { startClients } from './drill-clients.ts';
import { holdFault, placeFault, watchAnswers } from './drill-fault.ts';
import type { PlacedFault } from './drill-fault.ts';
import { ask } from './make-way.ts';
import { checkWell } from './fleet-order.ts';

/** What the command line says. */
export interface DrillOptions {
  /** The machine that a fault of a media machine is to meet; undefined: any. */
  readonly machine: string | undefined;
  readonly isSure: boolean;
  readonly isDryRun: boolean;
}

interface Outcome {
  readonly fault: DrillName;
  readonly machine: string;
  readonly ok: boolean;
  readonly measures: DrillMeasures;
  readonly limits: DrillLimits;
  /** What happened to the two clients, with the time of day (UTC). */
  readonly timeline: readonly string[];
}

/** A failure may show late, or twice: each is watched this long, longer while something is away, and no longer than the patience. */
const WATCH_MS = 10_000;
const PATIENCE_MS = 30_000;
const SOUND_MS = 1_000;
const POLL_MS = 50;
/** New rooms that are asked for: the first that is made tells to a tenth of a second when. */
const ROOMS_PER_SECOND = 10;
/** Machines that were cut off find back to each other within so long after that. */
const MEND_MS = 90_000;

const MEASURES = {
  gapMs: 'DRILL_GAP',
  roomMs: 'DRILL_ROOM',
  reconnections: 'DRILL_RECONNECTIONS',
  answerMs: 'DRILL_ANSWER',
  signallingMs: 'DRILL_SIGNALLING',
} as const satisfies Readonly<Record<keyof DrillLimits, TextCode>>;

const TITLES = {
  agent: 'DRILL_OF_AGENT',
  service: 'DRILL_OF_SERVICE',
  caddy: 'DRILL_OF_CADDY',
  redis: 'DRILL_OF_REDIS',
  livekit: 'DRILL_OF_LIVEKIT',
  cut: 'DRILL_OF_CUT',
  'cut-primary': 'DRILL_OF_CUT_PRIMARY',
} as const satisfies Readonly<Record<DrillName, TextCode>>;

/** Why a fleet cannot have a fault. */
const OF_THE_FLEET: ReadonlySet<string> = new Set(['DRILL_NEEDS_TWO', 'DRILL_NOT_HERE', 'DRILL_NO_PART']);

const names = Object.keys(drillFaults).filter(isDrillName);
const fields = Object.keys(MEASURES) as (keyof DrillLimits)[];

/** The faults that can be held, and what each may cost. */
export function listDrills({ reporter, language }: CliContext): void {
  for (const name of names) {
    reporter.line(`${name.padEnd(12)} ${translate(language, TITLES[name])}`);
    const limits: DrillLimits = drillFaults[name].limits;
    const said = fields.flatMap((field) =>
      limits[field] === undefined ? [] : [`${translate(language, MEASURES[field])} ≤ ${quantity(field, limits[field])}`],
    );
    reporter.line(`${' '.repeat(13)}${said.join('; ')}`);
  }
  reporter.result({ faults: drillFaults });
}

/**
 * Holds one fault, or each that this fleet can have, on purpose: two clients meet and others ask for rooms meanwhile. Says what they
 * lost, and whether that is within the limits; waits after each until the fleet is well again.
 * @throws FleetError DRILL_ELSEWHERE, UNKNOWN_DRILL, NOT_SURE_DRILL, DRILL_FAILED, FLEET_NOT_WELL, FLEET_UNREACHABLE, NO_PRIMARY, NOT_HEALTHY,
 * DRILL_NOT_MENDED; those of placeFault, holdFault and startClients
 */
export async function drill(context: CliContext, given: string | undefined, options: DrillOptions): Promise<void> {
  requireRoot('drill');
  if (given !== undefined && !isDrillName(given)) throw new FleetError('UNKNOWN_DRILL', { given, known: names.join(', ') }, { exitCode: 2 });
  const { settings, topology } = deployed(context);
  if (topology.role === 'media') throw new FleetError('DRILL_ELSEWHERE', {}, { exitCode: 2 });
  const where = { topology, machine: options.machine };
  const fleet = await look(context, settings, topology);
  const placed = given === undefined ? names.flatMap((name) => tryPlace(name, fleet, where)) : [placeFault(given, fleet, where)];
  for (const { name, machine } of placed) context.reporter.line(`  ${name.padEnd(12)} ${machine.padEnd(18)} ${translate(context.language, TITLES[name])}`);
  if (options.isDryRun) return context.reporter.result({ planned: placed.map(({ name, machine }) => ({ fault: name, machine })) });
  if (!options.isSure && !process.stdin.isTTY) throw new FleetError('NOT_SURE_DRILL', {}, { exitCode: 2 });
  if (!options.isSure) await ask(context, 'REALLY_DRILL', { count: await countPeople(settings) });
  await change(context, 'drill', async (deployment) => {
    const outcomes: Outcome[] = [];
    for (const { name } of placed) {
      // The one before may have moved the primary.
      const outcome = await holdOne(context, deployment, { name, where });
      outcomes.push(outcome);
      sayOutcome(context, outcome);
      await awaitMended(context, deployment, name);
    }
    const failed = outcomes.filter((one) => !one.ok).map((one) => one.fault);
    context.reporter.result({ ok: failed.length === 0, drills: outcomes });
    if (failed.length > 0) throw new FleetError('DRILL_FAILED', { faults: failed.join(', ') });
    context.reporter.say('DRILL_PASSED', { count: outcomes.length });
  });
}

/** A fleet that is well. @throws FleetError FLEET_UNREACHABLE, NO_PRIMARY, FLEET_NOT_WELL */
async function look(
  { host }: CliContext,
  settings: Settings,
  topology: Topology,
): Promise<{ records: readonly NodeRecord[]; primary: string; redis: { host: string; port: number } }> {
  const fleet = await viewFleet(host, settings, topology);
  if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: topology.redisHosts.join(', '), port: settings.SENTINEL_PORT });
  return { records: checkWell(fleet).records, primary: fleet.primary.host, redis: fleet.primary };
}

/** Of all faults those are left out that this fleet cannot have. */
function tryPlace(...[name, fleet, where]: Parameters<typeof placeFault>): PlacedFault[] {
  try {
    return [placeFault(name, fleet, where)];
  } catch (error) {
    if (error instanceof FleetError && OF_THE_FLEET.has(error.code)) return [];
    throw error;
  }
}

/** People in all rooms of the fleet. */
async function countPeople(settings: Settings): Promise<number> {
  const apiUrl = `http://127.0.0.1:${settings.GATEWAY_INTERNAL_PORT}`;
  const rooms = openLivekitRooms({ apiUrl, apiKey: settings.LIVEKIT_API_KEY, secret: settings.LIVEKIT_API_SECRET, now: () => Date.now() });
  return (await rooms.listRooms()).reduce((sum, room) => sum + room.numParticipants, 0);
}

async function holdOne(
  context: CliContext,
  deployment: HealthContext,
  { name, where }: { name: DrillName; where: Parameters<typeof placeFault>[2] },
): Promise<Outcome> {
  const { settings, topology } = deployment;
  const fleet = await look(context, settings, topology);
  const placed = placeFault(name, fleet, where);
  const { fault, machine } = placed;
  context.reporter.emit({ kind: 'step-progress', id: name, detail: translate(context.language, 'DRILL_MEETING', { machine: placed.meeting }) });
  const clients = await startClients(context, topology, {
    apiUrl: topology.publicUrl,
    apiToken: settings.SERVICE_API_TOKEN,
    meeting: { machine: placed.meeting, isRelayed: false },
    roomsPerSecond: fault.limits.roomMs === undefined ? 0 : ROOMS_PER_SECOND,
  });
  const watching = new AbortController();
  try {
    const answers: { atMs: number; ok: boolean }[] = [];
    const isAsked = fault.limits.answerMs !== undefined;
    const isCut = 'cutSeconds' in fault.how;
    const asking = isAsked || isCut ? watchAnswers(deployment, placed, { signal: watching.signal, onAnswer: (one) => answers.push(one) }) : null;
    const { earliestMs, latestMs } = await holdFault(context, deployment, { placed, primary: fleet.redis });
    context.reporter.emit({ kind: 'step-progress', id: name, detail: translate(context.language, 'DRILL_HELD', { machine }) });
    const hasSound = (): boolean => Date.now() - clients.lastSoundMs() < SOUND_MS;
    const isBack = (): boolean =>
      hasSound() &&
      (fault.limits.roomMs === undefined || clients.rooms.some((one) => one.isCreated && one.startedMs >= latestMs)) &&
      (!isAsked || answers.at(-1)?.ok === true);
    for (const beganMs = latestMs; Date.now() - beganMs < WATCH_MS || (!isBack() && Date.now() - beganMs < PATIENCE_MS); await sleep(POLL_MS))
      context.signal.throwIfAborted();
    const isSilent = !hasSound();
    watching.abort();
    const counts = await clients.end();
    await asking;
    // Without a packet filter nothing happens, which is no success.
    if (isCut && answers.every((one) => one.ok || one.atMs < earliestMs)) throw new FleetError('DRILL_NOT_HELD', { fault: name, machine });
    const measures = measureDrill(
      { rooms: clients.rooms, answers: isAsked ? answers : [], counts },
      { struckMs: earliestMs, readyMs: latestMs, isSilent, patienceMs: PATIENCE_MS },
    );
    return { fault: name, machine, ok: isWithin(measures, fault), measures, limits: fault.limits, timeline: counts.timeline };
  } finally {
    watching.abort();
    clients.kill();
  }
}

function isWithin(measures: DrillMeasures, { limits }: DrillFault): boolean {
  return fields.every((field) => limits[field] === undefined || (measures[field] ?? Infinity) <= limits[field]);
}

function sayOutcome({ reporter, language }: CliContext, { fault, machine, ok, measures, limits, timeline }: Outcome): void {
  reporter.line(`${ok ? '✓' : '✗'} ${fault.padEnd(12)} ${machine.padEnd(18)} ${translate(language, TITLES[fault])}`);
  for (const field of fields) {
    const [limit, value] = [limits[field], measures[field]];
    if (limit === undefined || value === null) continue;
    reporter.line(`    ${value <= limit ? '✓' : '✗'} ${translate(language, MEASURES[field])}  ${quantity(field, value)}  (≤ ${quantity(field, limit)})`);
  }
  if (!ok) for (const line of timeline) reporter.line(`      ${line}`);
}

function quantity(field: keyof DrillLimits, value: number): string {
  return field === 'reconnections' ? String(value) : `${(value / 1_000).toFixed(2)} s`;
}

/** Waits until this machine's parts and all media machines are well. @throws FleetError NOT_HEALTHY, DRILL_NOT_MENDED */
async function awaitMended(context: CliContext, deployment: HealthContext, name: DrillName): Promise<void> {
  const { settings, topology } = deployment;
  await awaitHealth({ ...deployment, now: context.now, signal: context.signal });
  const { how } = drillFaults[name] as DrillFault;
  const cutMs = 'cutSeconds' in how ? how.cutSeconds * 1_000 : 0;
  let problem: FleetError | null = null;
  for (const deadline = context.now() + cutMs + MEND_MS; context.now() < deadline; await sleep(POLL_MS * 10)) {
    context.signal.throwIfAborted();
    try {
      await look(context, settings, topology);
      return;
    } catch (error) {
      if (!(error instanceof FleetError)) throw error;
      problem = error;
    }
  }
  throw new FleetError('DRILL_NOT_MENDED', {
    fault: name,
    seconds: (cutMs + MEND_MS) / 1_000,
    detail: translate(context.language, problem?.code ?? 'FLEET_SILENT', problem?.params),
  });
}
