import { knownHosts, viewFleet } from '../apply/ask-fleet.ts';
import { readChosen, readDeployed } from '../apply/chosen-version.ts';
import type { ChosenVersion } from '../apply/chosen-version.ts';
import { giveTurn, takeTurn } from '../apply/goodbye.ts';
import type { GoodbyeContext } from '../apply/goodbye.ts';
import { checkInstalled } from '../apply/installed.ts';
import { recallPublicAddress } from '../apply/public-address.ts';
import { catalogue, versionsOf } from '../components/catalogue.ts';
import { listStored } from '../components/component-store.ts';
import { compareVersions } from '../components/version.ts';
import { versionPattern } from '../contract/orders.ts';
import { awaitHealth } from '../health/await-health.ts';
import type { HealthContext } from '../health/await-health.ts';
import { findUser } from '../host/service-user.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import type { Topology } from '../topology/topology.ts';
import { requireRoot } from './become-root.ts';
import type { CliContext } from './context.ts';
import { change, deployed } from './control.ts';
import { converge } from './converge.ts';
import { describe, seedOf, sayPlan } from './deploy.ts';
import type { WayOptions } from './make-way.ts';
import { bring, prepare, storeFolder } from './prepare.ts';
import { checkWell } from './fleet-order.ts';

/** Another machine that is being upgraded needs longer than anyone would wait here; a primary that is being replaced does not. */
const PATIENCE_MS = 10_000;
/** Beyond the drain and two waits for health (the new version, and the former one again): stopping and starting. */
const TURN_MARGIN_MS = 60_000;

/** Options of both commands. */
export interface VersionOptions extends WayOptions {
  /** Only say what would change. */
  readonly isDryRun: boolean;
  /** Only bring the version into the store. */
  readonly isFetch: boolean;
}

interface Machine {
  readonly settings: Settings;
  readonly topology: Topology;
}

/** What runs, and what was chosen. */
interface Versions {
  readonly current: string;
  readonly chosen: ChosenVersion | null;
}

/**
 * Replaces this machine's LiveKit by another version; the newest one that can be had where `to` names none.
 * @throws FleetError NOT_A_VERSION, VERSION_UNAVAILABLE and the others of replace, all before anything is changed; NOT_HEALTHY
 * when the new version did not serve: the former one runs again then
 */
export async function upgrade(context: CliContext, to: string | undefined, options: VersionOptions): Promise<void> {
  const asked = parseVersion(to);
  await replace(context, 'upgrade', options, async (machine, { current }) => (asked === undefined ? newerThan(machine, current) : [asked]));
}

/** Without the `v` of a tag. @throws FleetError NOT_A_VERSION */
export function parseVersion(given: string | undefined): string | undefined {
  const version = given?.replace(/^v/, '');
  if (version !== undefined && !versionPattern.test(version)) throw new FleetError('NOT_A_VERSION', { given: version }, { exitCode: 2 });
  return version;
}

/** Goes back to the version of LiveKit that ran before the last upgrade, or rollback. @throws FleetError NO_FORMER_VERSION; those of upgrade */
export async function rollback(context: CliContext, options: VersionOptions): Promise<void> {
  await replace(context, 'rollback', options, async (_, { chosen, current }) => {
    if (chosen === null) throw new FleetError('NO_FORMER_VERSION', { version: current }, { exitCode: 2 });
    return [chosen.former];
  });
}

/** Versions of the catalogue and the store that are newer, newest first. */
async function newerThan({ settings, topology }: Machine, current: string): Promise<string[]> {
  const stored = await listStored(storeFolder(settings, topology), 'livekit');
  const all = new Set([...versionsOf(catalogue.livekit), ...stored.map((one) => one.manifest.version)]);
  return [...all].filter((version) => compareVersions(version, current) > 0).toSorted((a, b) => compareVersions(b, a));
}

/**
 * Brings the first of the wanted versions that can be had, takes the fleet's turn, and applies it as a deploy does.
 * @throws FleetError NO_LIVEKIT_HERE, LIVEKIT_IS_GIVEN, VERSION_UNAVAILABLE, FLEET_UNREACHABLE, NO_PRIMARY, OTHER_IS_LEAVING, FLEET_NOT_WELL; those of converge
 */
async function replace(
  context: CliContext,
  command: string,
  { isDryRun, isFetch, ...sure }: VersionOptions,
  findWanted: (machine: Machine, versions: Versions) => Promise<readonly string[]>,
): Promise<void> {
  const { host, reporter } = context;
  const work = async ({ settings, topology: planned }: Machine): Promise<void> => {
    if (!planned.hasMedia) throw new FleetError('NO_LIVEKIT_HERE', {}, { exitCode: 2 });
    if (settings.LIVEKIT_PATH !== '') throw new FleetError('LIVEKIT_IS_GIVEN', { path: settings.LIVEKIT_PATH }, { exitCode: 2 });
    await checkInstalled(host, settings, planned);
    const { layout } = planned;
    const chosen = await readChosen(host, layout);
    // A run that was killed may have left the choice alone.
    const current = chosen?.version ?? (await readDeployed(host, layout));
    if (current === null) throw new FleetError('NOT_DEPLOYED', { path: layout.root });
    const wanted = await findWanted({ settings, topology: planned }, { current, chosen });
    const version = wanted.length === 0 ? current : await bringFirst(context, { settings, topology: planned }, { wanted, isDryRun });
    if (isFetch) {
      reporter.say('VERSION_FETCHED', { version });
      return reporter.result({ version, current });
    }
    const next = version === current ? chosen : { version, former: current };
    if (next === null) return sayCurrent(context, current);
    const seed = await seedOf(context, settings, { topology: planned, isNewFleet: false });
    const found = planned.asksPublicAddress ? await recallPublicAddress(host, layout) : null;
    const topology = found === null ? planned : { ...planned, mediaAddress: found.address, publicAddress: found };
    const prepared = await prepare(context, settings, { topology, seed, isDryRun, chosen: next });
    if (isDryRun) return void (await sayPlan(context, topology, prepared));
    const { changes } = await inTurn(context, { settings, topology }, () =>
      orFormer(
        context,
        { settings, topology, manager: prepared.manager },
        { former: current, work: () => converge(context, settings, { topology, prepared, sure }) },
      ),
    );
    if (changes.length === 0) return sayCurrent(context, current);
    reporter.say('VERSION_CHANGED', next);
    reporter.result({ ...next, changes: changes.map(describe) });
  };
  if (!isDryRun && !isFetch) return change(context, command, work);
  requireRoot(command);
  await work(deployed(context));
}

/** Does the work; where it fails and LiveKit ran before, waits until the former one, which applyPlan has put back, is well, and says so. */
async function orFormer<T>(
  { host, reporter, now, signal }: CliContext,
  deployment: Omit<HealthContext, 'user'>,
  { former, work }: { former: string; work: () => Promise<T> },
): Promise<T> {
  const [before] = await deployment.manager.status(['livekit']);
  try {
    return await work();
  } catch (error) {
    if (before?.state !== 'running' || !(error instanceof FleetError) || error.code !== 'NOT_HEALTHY') throw error;
    const user = await findUser(host, deployment.settings.SERVICE_USER);
    const isWell = await awaitHealth({ ...deployment, user, parts: ['livekit'], now, signal }).then(
      () => true,
      (again: unknown) => {
        if (again instanceof FleetError && again.code === 'NOT_HEALTHY') return false;
        throw again;
      },
    );
    if (isWell) reporter.emit({ kind: 'note', code: 'VERSION_BACK', params: { version: former } });
    throw error;
  }
}

function sayCurrent({ reporter }: CliContext, version: string): void {
  reporter.say('VERSION_CURRENT', { version });
  reporter.result({ version, changes: [] });
}

/** The first version that can be had is in the store then. @throws FleetError VERSION_UNAVAILABLE, for the first one, where none can */
async function bringFirst(
  context: CliContext,
  { settings, topology }: Machine,
  { wanted, isDryRun }: { wanted: readonly string[]; isDryRun: boolean },
): Promise<string> {
  let first: FleetError | null = null;
  for (const version of wanted) {
    try {
      await bring(context, settings, { topology, names: ['livekit'], livekit: version, isDryRun });
      return version;
    } catch (error) {
      if (!(error instanceof FleetError && error.code === 'COMPONENT_UNAVAILABLE')) throw error;
      first ??= new FleetError('VERSION_UNAVAILABLE', { version, tried: error.params['tried'] ?? '' }, { exitCode: 2, cause: error });
    }
  }
  throw first ?? new Error('no version was wanted');
}

/** Does the work while no other machine of the fleet leaves or is upgraded, and all of them serve. A machine that is alone has nobody to ask. */
async function inTurn<T>(context: CliContext, { settings, topology }: Machine, work: () => Promise<T>): Promise<T> {
  const { host, now, signal } = context;
  const view: GoodbyeContext['view'] = () => viewFleet(host, settings, topology);
  const others = await knownHosts(host, topology);
  const fleet = await view();
  if (others.length === 0 && (fleet?.registry ?? null) === null) return work();
  if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: others.join(', '), port: settings.SENTINEL_PORT });
  const turn: GoodbyeContext = { settings, view, patienceMs: PATIENCE_MS, now, signal };
  await takeTurn(topology.machine, turn, (settings.DRAIN_TIMEOUT + 2 * settings.HEALTH_TIMEOUT) * 1000 + TURN_MARGIN_MS);
  try {
    checkWell((await view()) ?? fleet, topology.machine);
    return await work();
  } finally {
    await giveTurn(topology.machine, turn, (await view()) ?? fleet);
  }
}
