import { randomUUID } from 'node:crypto';
import * as z from 'zod';
import type { NodeRecord } from '../contract/node-record.ts';
import type { UpgradeOrder } from '../contract/orders.ts';
import { FleetError } from '../kernel/errors.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { requireRoot } from './become-root.ts';
import type { CliContext } from './context.ts';
import { deployed } from './control.ts';
import { fleetTimeMs, giveOrder, servingRecord, viewWell } from './fleet-order.ts';
import type { Asker, ReadableFleet } from './fleet-order.ts';
import { recorded } from './journal.ts';
import { parseVersion } from './upgrade.ts';
import type { VersionOptions } from './upgrade.ts';

const fetchedSchema = z.object({ version: z.string(), current: z.string() });
const refusedSchema = z.object({ error: z.string() });

/** An agent looks for orders each second. */
const BEGIN_MS = 15_000;
/** A download over a slow line, or a build. */
const FETCH_MS = 20 * 60_000;
/** Beyond the drain and two waits for health: the former version may have to be put back. */
const MARGIN_MS = 60_000;

/** What a machine has in its store for this, and what it runs. */
interface Fetched {
  readonly record: NodeRecord;
  /** Null where nothing ran before on this machine. */
  readonly version: string | null;
  readonly current: string;
}

/**
 * Brings the same version of LiveKit onto all media machines, one after the other, the one with the Redis primary last. First each of
 * them has to have it in its store. Ends at the first that does not serve with it, which goes back by itself; the others are not touched.
 * @throws FleetError NOT_A_VERSION, FLEET_UNREACHABLE, NO_PRIMARY, FLEET_NOT_WELL, FLEET_OF_ONE, FETCH_FAILED, VERSIONS_DIFFER, UPGRADE_STOPPED
 */
export async function upgradeFleet(context: CliContext, to: string | undefined, options: VersionOptions): Promise<void> {
  await replaceAll(context, { wanted: parseVersion(to) ?? 'newest', command: 'upgrade' }, options);
}

/** Goes back to the version that ran before on the machines that were upgraded, in the same way. @throws FleetError NO_FORMER_VERSION; those of upgradeFleet */
export async function rollbackFleet(context: CliContext, options: VersionOptions): Promise<void> {
  await replaceAll(context, { wanted: 'former', command: 'rollback' }, options);
}

async function replaceAll(
  context: CliContext,
  { wanted, command }: { wanted: string; command: 'upgrade' | 'rollback' },
  { isDryRun, isFetch, isNow }: VersionOptions,
): Promise<void> {
  const { reporter } = context;
  requireRoot(command);
  const asker = deployed(context);
  const fleet = await viewWell(context, asker, `./部署.sh ${command}`);
  if (isDryRun) {
    for (const { machine, version } of fleet.registry.records) reporter.line(`  ↻ ${machine.padEnd(18)} ${version} → ${wanted}`);
    return reporter.result({ wanted, machines: fleet.registry.records.map(({ machine, version }) => ({ machine, version })) });
  }
  // Not under this machine's lock: its own upgrade, which is one of them, takes that.
  await recorded(context, asker, async () => {
    const fetched = await fetchAll(context, asker, { fleet, wanted });
    const version = targetOf(fetched, wanted);
    reporter.emit({ kind: 'note', code: 'VERSION_FETCHED', params: { version } });
    if (isFetch) return reporter.result({ version, machines: fleet.registry.records.map((one) => one.machine) });
    const left = fetched.filter((one) => one.current !== version).map((one) => one.record.machine);
    const done: string[] = [];
    for (const machine of left) {
      const began = context.now();
      await upgradeOne(context, asker, { machine, version, isNow, done });
      reporter.emit({ kind: 'step-finished', id: machine, ms: context.now() - began, detail: version });
      done.push(machine);
    }
    reporter.say('FLEET_UPGRADED', { version, count: done.length, all: fetched.length });
    reporter.result({ version, upgraded: done });
  });
}

/** Has each machine bring the version into its store, all at the same time. @throws FleetError FETCH_FAILED, with each that could not */
async function fetchAll(context: CliContext, asker: Asker, { fleet, wanted }: { fleet: ReadableFleet; wanted: string }): Promise<Fetched[]> {
  const problems: string[] = [];
  const all = await Promise.all(
    fleet.registry.records.map(async (record): Promise<Fetched> => {
      const { machine } = record;
      const report = await followUpgrade(context, asker, { machine, upgrade: { fetch: wanted }, patienceMs: FETCH_MS, isOver: async () => true });
      const found = parseJson(fetchedSchema, report?.detail ?? '');
      if (report?.state === 'done' && found !== null) return { record, ...found };
      const code = parseJson(refusedSchema, report?.detail ?? '')?.error;
      // Where it was never upgraded, it may have the version that the others go back to.
      if (code !== 'NO_FORMER_VERSION') problems.push(`${machine}: ${report === null ? '-' : report.detail}`);
      return { record, version: null, current: record.version };
    }),
  );
  if (problems.length > 0) throw new FleetError('FETCH_FAILED', { machines: problems.join('\n  ') });
  return all;
}

/** The one version that all machines are to have. @throws FleetError VERSIONS_DIFFER, NO_FORMER_VERSION */
function targetOf(fetched: readonly Fetched[], wanted: string): string {
  const versions = [...new Set(fetched.flatMap((one) => one.version ?? []))];
  // After an upgrade that stopped half-way some have gone, and others have that version still.
  const formers = wanted === 'former' ? versions.filter((version) => fetched.some((one) => one.current === version)) : [];
  const found = formers.length === 1 ? formers : versions;
  const [version] = found;
  if (version === undefined) throw new FleetError('NO_FORMER_VERSION', { version: fetched[0]?.current ?? '-' }, { exitCode: 2 });
  if (found.length > 1 || fetched.some((one) => one.version === null && one.current !== version))
    throw new FleetError(
      'VERSIONS_DIFFER',
      { versions: fetched.map((one) => `${one.record.machine} ${one.current} → ${one.version ?? '-'}`).join(', ') },
      { exitCode: 2 },
    );
  return version;
}

async function upgradeOne(
  context: CliContext,
  asker: Asker,
  { machine, version, isNow, done }: { machine: string; version: string; isNow: boolean; done: readonly string[] },
): Promise<void> {
  const { DRAIN_TIMEOUT, HEALTH_TIMEOUT } = asker.settings;
  const report = await followUpgrade(context, asker, {
    machine,
    upgrade: { to: version, isNow },
    patienceMs: (DRAIN_TIMEOUT + 2 * HEALTH_TIMEOUT) * 1_000 + MARGIN_MS,
    isOver: async () => (await servingRecord(context, asker, machine))?.version === version,
  });
  if (report?.state === 'done') return;
  const detail = report === null ? '-' : report.detail === '' ? report.state : report.detail;
  throw new FleetError('UPGRADE_STOPPED', { machine, version, detail, done: done.length === 0 ? '-' : done.join(', ') });
}

async function followUpgrade(
  context: CliContext,
  asker: Asker,
  { machine, upgrade, patienceMs, isOver }: { machine: string; upgrade: UpgradeOrder['upgrade']; patienceMs: number; isOver: () => Promise<boolean> },
): ReturnType<typeof giveOrder> {
  const untilMs = (await fleetTimeMs(context, asker)) + BEGIN_MS;
  const order = { id: randomUUID(), untilMs, language: context.language, upgrade };
  return giveOrder(context, asker, {
    machine,
    order,
    patienceMs,
    onReport({ state, detail }) {
      if (state === 'working' && detail !== '') context.reporter.emit({ kind: 'step-progress', id: machine, detail });
    },
    isOver,
  });
}
