import { existsSync, readFileSync } from 'node:fs';
import { observe } from '../apply/observe.ts';
import { checkDataDir } from '../apply/data-dir.ts';
import { checkOperatingSystem } from '../apply/operating-system.ts';
import { findFleet } from '../apply/find-fleet.ts';
import { checkInstalled } from '../apply/installed.ts';
import { writeLeft } from '../apply/left-fleet.ts';
import { checkPorts } from '../apply/ports.ts';
import { findPublicAddress, recallPublicAddress } from '../apply/public-address.ts';
import { awaitCertificate, readKept, readServed } from '../health/certificate.ts';
import { withLock } from '../host/lock.ts';
import { FleetError } from '../kernel/errors.ts';
import { makePlan, startingOf } from '../plan/plan.ts';
import type { Change } from '../plan/plan.ts';
import { internalCaFile } from '../render/caddy.ts';
import { innerPorts, openPorts, renderRules } from '../render/firewall.ts';
import type { FleetSeed } from '../render/redis.ts';
import { editEnv } from '../settings/env-file.ts';
import { writeJoin } from '../settings/join-line.ts';
import { isPlaceholder } from '../settings/parse.ts';
import { missingSecrets } from '../settings/secrets.ts';
import type { SecretsWanted } from '../settings/secrets.ts';
import type { Settings } from '../settings/schema.ts';
import { stagingFolder } from '../topology/restore-files.ts';
import { COMMANDS } from '../topology/topology.ts';
import type { Part, PublicAddress, Role, Topology } from '../topology/topology.ts';
import { describeCertificate, isInForce } from './certificate-line.ts';
import { requireRoot } from './become-root.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { converge } from './converge.ts';
import type { Converged } from './converge.ts';
import { recorded } from './journal.ts';
import type { WayOptions } from './make-way.ts';
import { prepare } from './prepare.ts';
import type { Prepared } from './prepare.ts';

/** A public authority needs 2 to 10 s. After a failure, which ends the waiting, Caddy tries again a minute later at the earliest. */
const CERTIFICATE_MS = 20_000;

/** `.env` holds secrets. */
export const PRIVATE = { mode: 0o600, uid: 0, gid: 0 };

export interface DeployOptions extends WayOptions {
  readonly role: Role;
  /** Only say what would change. */
  readonly isDryRun: boolean;
  /** Begin another fleet though this machine has left one. */
  readonly isNewFleet: boolean;
}

/** Brings this machine up in its role. */
export async function deploy(context: CliContext, { role, isDryRun, isNewFleet, ...sure }: DeployOptions): Promise<void> {
  requireRoot(COMMANDS[role]);
  const { reporter, host } = context;
  const first = loadSettings(context, role);
  await checkInstalled(host, first.settings, first.topology);
  if (isDryRun) return showPlan(context, first, { isNewFleet });
  await checkOperatingSystem(host);
  await checkDataDir(host, first.topology);
  const run = async (): Promise<void> => {
    // Seldom there, and what settles it takes 5 ms to load.
    const settling = existsSync(stagingFolder(first.topology.layout)) ? await import('./settle-restore.ts') : null;
    const settled = (await settling?.settleRestore(context, { settings: first.settings, topology: first.topology })) ?? null;
    await createEnv(context);
    let early: ReturnType<typeof readServed> = Promise.resolve(null);
    // A handshake takes 20 ms of this program's time: while others start, nobody waits for it. What Caddy itself makes is read below.
    const onWell = (part: Part, given: Settings): void => {
      if (part === 'caddy' && first.topology.tls.kind !== 'internal') early = readServed(given);
    };
    const { settings, topology, prepared, changes, began } = await bringUp(context, { role, isNewFleet, ...sure, onWell });
    if (settled !== null) await settling?.awaitWell(context, { settings, topology, manager: prepared.manager });
    if (changes.length === 0) reporter.say('NOTHING_TO_DO');
    const isNew = changes.some((change) => 'part' in change && change.part === 'caddy');
    const patience = isNew ? { patienceMs: CERTIFICATE_MS, since: began } : { patienceMs: 0, since: 0 };
    sayFirewall(context, settings, topology);
    const result = { role, machine: topology.machine, changes: changes.map(describe) };
    if (role === 'media') {
      return reporter.result({ ...result, ...sayJoin(context, settings, topology) });
    }
    const kept = await readKept(host, settings, topology);
    const served =
      (kept !== null && isInForce(kept) ? kept : await early) ??
      (await awaitCertificate({ settings, manager: prepared.manager, ...patience, now: context.now, signal: context.signal }));
    sayWhere(context, settings, topology);
    if (!isInForce(served)) reporter.line(describeCertificate(context, served, { settings, topology }));
    reporter.result({ ...result, url: topology.publicUrl, certificate: served });
  };
  await withLock(first.topology.layout.lock, COMMANDS[role], () => recorded(context, first, run));
}

interface BringUpOptions {
  /** The other machines are gone for good: nobody is asked where the fleet stands. */
  readonly isAlone?: boolean;
  readonly onWell?: (part: Part, settings: Settings) => void;
}

/** What a machine was brought up as. */
export interface BroughtUp extends Converged {
  readonly settings: Settings;
  readonly topology: Topology;
  readonly prepared: Prepared;
}

/** Makes of this machine what the settings ask for in its role, secrets that are missing included; the heart of `deploy`. */
export async function bringUp(
  context: CliContext,
  { role, isNewFleet, isAlone = false, onWell, ...sure }: Omit<DeployOptions, 'isDryRun'> & BringUpOptions,
): Promise<BroughtUp> {
  const { settings: given, topology: planned, envText } = loadSettings(context, role);
  const asked = planned.asksPublicAddress ? findPublicAddress(given) : Promise.resolve(null);
  const made = missingSecrets(given, secretsWanted(given, planned));
  const settings = { ...given, ...made };
  const seed = isAlone ? { primary: planned.address, quorum: 1 } : await seedOf(context, settings, { topology: planned, isNewFleet });
  const topology = await withPublicAddress(context, planned, asked);
  await writeSecrets(context, envText, made);
  const prepared = await prepare(context, settings, { topology, seed, isDryRun: false });
  const converged = await converge(context, settings, { topology, prepared, sure, onWell: (part) => onWell?.(part, settings) });
  await writeLeft(context.host, settings, { layout: topology.layout, hosts: [] });
  return { settings, topology, prepared, ...converged };
}

/** Announces the public address where one was found, now or by the last deploy, and says which. */
async function withPublicAddress({ reporter, host }: CliContext, topology: Topology, asked: Promise<PublicAddress | null>): Promise<Topology> {
  if (!topology.asksPublicAddress) return topology;
  const own = topology.address;
  // Nobody answering is no reason to restart LiveKit with another address.
  const found = (await asked) ?? (await recallPublicAddress(host, topology.layout));
  if (found === null) reporter.emit({ kind: 'note', code: 'NO_PUBLIC_ADDRESS', params: { own: topology.mediaAddress } });
  else reporter.emit({ kind: 'note', code: 'PUBLIC_ADDRESS', params: { ...found, own } });
  return found === null ? topology : { ...topology, mediaAddress: found.address, publicAddress: found };
}

/** Where the fleet stands; a gateway without the fleet's secrets cannot ask, and waits. */
export async function seedOf(
  { reporter, host, now, signal }: CliContext,
  settings: Settings,
  { topology, isNewFleet }: { topology: Topology; isNewFleet: boolean },
): Promise<FleetSeed> {
  if (isPlaceholder(settings.LIVEKIT_API_SECRET)) return { primary: topology.address, quorum: 1 };
  return findFleet(settings, topology, { host, emit: reporter.emit, now, wallClock: Date.now, signal, isNewFleet });
}

/** Plan of a deploy: a line per change; secrets are in files, which are named, not shown. */
export async function showPlan(
  context: CliContext,
  { settings, topology: planned }: { settings: Settings; topology: Topology },
  { isNewFleet }: { isNewFleet: boolean },
): Promise<void> {
  await checkDataDir(context.host, planned);
  const filled = { ...settings, ...missingSecrets(settings, secretsWanted(settings, planned)) };
  const seed = await seedOf(context, filled, { topology: planned, isNewFleet });
  const topology = await withPublicAddress(context, planned, planned.asksPublicAddress ? findPublicAddress(filled) : Promise.resolve(null));
  const prepared = await prepare(context, filled, { topology, seed, isDryRun: true });
  const changes = await sayPlan(context, topology, prepared);
  await checkPorts(context.host, filled, { topology, manager: prepared.manager, starting: startingOf(changes), signal: context.signal });
}

/** A line per change that `prepared` asks for, and per component that is not there yet. Gives the changes. */
export async function sayPlan(context: CliContext, topology: Topology, { desired, manager, missing }: Prepared): Promise<Change[]> {
  const changes = makePlan(desired, await observe(context.host, desired, { topology, manager }));
  const steps = [...missing.map((component) => `⇣ ${component}`), ...changes.map(describe)];
  for (const step of steps) context.reporter.line(`  ${step}`);
  context.reporter.say(steps.length === 0 ? 'NOTHING_TO_DO' : 'PLAN_SIGNS');
  context.reporter.result({ changes: steps });
  return changes;
}

/** A line for people. */
export function describe(change: Change): string {
  switch (change.kind) {
    case 'create':
      return `+ ${change.file.path}`;
    case 'update':
      return `~ ${change.file.path}`;
    case 'start':
      return `▶ ${change.part}`;
    case 'restart':
      return `↻ ${change.part}`;
    case 'retire':
      return `■ ${change.part}`;
  }
}

/** Makes `.env` from the example where it is missing. */
export async function createEnv({ reporter, host, envPath, projectRoot }: CliContext): Promise<void> {
  if (existsSync(envPath)) return;
  await host.write(envPath, readFileSync(`${projectRoot}/.env.example`, 'utf8'), PRIVATE);
  reporter.say('ENV_CREATED', { path: envPath });
}

/** Writes generated secrets into `.env`; every other byte stays. */
async function writeSecrets({ reporter, host, envPath }: CliContext, envText: string, made: Readonly<Record<string, string>>): Promise<void> {
  if (Object.keys(made).length === 0) return;
  await host.write(envPath, editEnv(envText, made), PRIVATE);
  reporter.say('SECRETS_WRITTEN', { names: Object.keys(made).join(', ') });
}

/**
 * Keys are made where the fleet begins.
 * @throws FleetError SECRETS_NEEDED on a media machine that follows another one
 */
function secretsWanted(settings: Settings, { role, address, redisHosts }: Topology): SecretsWanted {
  const isFirst = redisHosts[0] === address;
  if (role === 'media' && !isFirst && isPlaceholder(settings.LIVEKIT_API_SECRET))
    throw new FleetError('SECRETS_NEEDED', { host: redisHosts[0] ?? '' }, { exitCode: 2 });
  return { makesKeys: role !== 'gateway', hasApi: role !== 'media' };
}

/** The one place that shows secrets: the line that a person, or a program, carries to the gateway machine. Gives its word. */
function sayJoin({ reporter }: CliContext, settings: Settings, topology: Topology): { signalling: string; join: string } {
  const signalling = `${topology.address}:${settings.LIVEKIT_HTTP_PORT}`;
  const join = writeJoin(settings, topology.address);
  reporter.line('');
  reporter.say('DEPLOYED');
  reporter.say('SIGNALLING', { address: signalling });
  reporter.say('JOIN_LINE', { line: `./部署.sh join ${join}` });
  return { signalling, join };
}

function sayWhere({ reporter, envPath }: CliContext, settings: Settings, topology: Topology): void {
  reporter.line('');
  reporter.say('DEPLOYED');
  if (topology.redisHosts.length === 0 || isPlaceholder(settings.LIVEKIT_API_SECRET)) reporter.say('WAITING_FOR_MEDIA');
  reporter.say('ADDRESS', { url: topology.publicUrl });
  if (topology.plainUrl !== null) reporter.say('PLAIN_ADDRESS', { url: topology.plainUrl });
  if (topology.tls.kind === 'internal') reporter.say('TRUST_CA', { path: internalCaFile(topology) });
  reporter.say('API_TOKEN_PLACE', { url: topology.publicUrl, path: envPath });
  reporter.say('NEXT_VERIFY');
}

/** What a person has to do about firewalls, if anything. */
function sayFirewall({ reporter }: CliContext, settings: Settings, topology: Topology): void {
  if (topology.firewall === 'no-nft') reporter.say('FIREWALL_NO_NFT', { ports: innerPorts(settings, topology).join(', ') });
  const isNeedless = topology.firewall === 'needless';
  if (topology.firewall !== 'print' && !(isNeedless && settings.FIREWALL === 'print')) return;
  reporter.say(isNeedless ? 'FIREWALL_NEEDLESS' : 'FIREWALL_RULES');
  if (!isNeedless) reporter.line(renderRules(settings, topology));
  reporter.say('FIREWALL_OPEN', { ports: openPorts(settings, topology).join(', ') });
}
