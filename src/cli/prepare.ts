import { closeSync, openSync, readSync, statSync } from 'node:fs';
import { chmod, copyFile, rename, rm } from 'node:fs/promises';
import { dirname } from 'node:path';
import { readChosen } from '../apply/chosen-version.ts';
import type { ChosenVersion } from '../apply/chosen-version.ts';
import { desire } from '../apply/desired.ts';
import { bringComponents, missing } from '../components/bring.ts';
import type { BroughtComponents } from '../components/bring.ts';
import type { ComponentName } from '../components/catalogue.ts';
import { makeReadableFolder } from '../components/component-store.ts';
import { isDiskFull } from '../kernel/has-code.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Desired } from '../plan/plan.ts';
import type { FleetSeed } from '../render/redis.ts';
import type { Settings } from '../settings/schema.ts';
import { processManager } from '../supervisor/processes.ts';
import type { ServiceManager } from '../supervisor/service-manager.ts';
import { systemdManager } from '../supervisor/systemd.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';
import { readPems } from './read-pems.ts';

/** Desired state and the way to control the parts, with all components at hand. */
export interface Prepared {
  readonly desired: Desired;
  readonly manager: ServiceManager;
  /** With `isDryRun`: components that a deploy would bring first. */
  readonly missing: readonly string[];
}

/**
 * Reads the operator's certificates, brings the components (nothing to do where they are in the store; with `isDryRun` none
 * is brought; LiveKit in the version that was chosen, now or earlier) and renders everything in memory.
 * @throws FleetError of readPems; COMPONENT_UNAVAILABLE
 */
export async function prepare(
  context: CliContext,
  settings: Settings,
  { topology, seed, isDryRun, chosen: asked }: { topology: Topology; seed: FleetSeed; isDryRun: boolean; chosen?: ChosenVersion },
): Promise<Prepared> {
  const pems = await readPems(context, settings, topology);
  const store = storeFolder(settings, topology);
  const node = isDryRun ? nodeIn(store) : await bringNode(store);
  const names = componentsOf(topology);
  const chosen = topology.hasMedia ? (asked ?? (await readChosen(context.host, topology.layout))) : null;
  const brought = await bring(context, settings, { topology, names, isDryRun, ...(chosen === null ? {} : { livekit: chosen.version }) });
  const path = (component: ComponentName, name: string): string => (names.includes(component) ? binary(brought, component, name) : '');
  const tools = topology.supervisor === 'processes' ? dirname(path('runit', 'runsvdir')) : null;
  const appFiles = ['agent', 'service'].flatMap((name) => [`${name}.cjs`, `${name}.js`, `${name}.compiled`]);
  const apps = appFiles.map((name) => readHead(`${context.projectRoot}/dist/${name}`));
  const programs = {
    node,
    redisServer: path('redis', 'redis-server'),
    livekitServer: path('livekit', 'livekit-server'),
    caddy: path('caddy', 'caddy'),
  };
  const desired = desire({
    settings,
    topology,
    seed,
    programs,
    project: { root: context.projectRoot, envPath: context.envPath },
    tools,
    livekitVersion: brought.livekit?.version ?? '',
    chosen,
    apps,
    pems,
  });
  const absent = Object.entries(brought).filter(([, component]) => component.source === missing);
  return { desired, manager: managerWith(context, topology, tools), missing: absent.map(([name, { version }]) => `${name} ${version}`) };
}

/** The first line of a program; of the short one that starts it, all. */
function readHead(path: string): { path: string; head: string } {
  const head = Buffer.alloc(4096);
  const file = openSync(path, 'r');
  try {
    const text = head.toString('latin1', 0, readSync(file, head));
    return { path, head: path.endsWith('.cjs') ? text : text.slice(0, text.indexOf('\n') + 1) };
  } finally {
    closeSync(file);
  }
}

/** What a machine's parts are made of. */
function componentsOf({ parts, supervisor }: Topology): ComponentName[] {
  const wanted: Partial<Record<Part, ComponentName>> = { livekit: 'livekit', caddy: 'caddy', redis: 'redis', sentinel: 'redis' };
  return [...new Set(parts.flatMap((part) => wanted[part] ?? [])), ...(supervisor === 'processes' ? (['runit'] as const) : [])];
}

/** The way to control parts that are deployed already; needs nothing but the supervisor's programs. */
export async function openManager(context: CliContext, settings: Settings, topology: Topology): Promise<ServiceManager> {
  if (topology.supervisor === 'systemd') return managerWith(context, topology, null);
  const brought = await bring(context, settings, { topology, names: ['runit'] });
  return managerWith(context, topology, dirname(binary(brought, 'runit', 'runsvdir')));
}

function managerWith({ host }: CliContext, topology: Topology, tools: string | null): ServiceManager {
  return tools === null ? systemdManager(host, topology.parts) : processManager(host, topology, { tools, now: Date.now });
}

/** Brings components into the store that the settings name; see bringComponents. */
export function bring(
  context: CliContext,
  settings: Settings,
  wanted: { topology: Topology; names: readonly ComponentName[]; livekit?: string; isDryRun?: boolean },
): Promise<BroughtComponents> {
  const { LIVEKIT_PATH: livekit, CADDY_PATH: caddy, REDIS_SERVER_PATH: redis } = settings;
  return bringComponents({
    names: wanted.names,
    storeDir: storeFolder(settings, wanted.topology),
    overrides: { ...(livekit === '' ? {} : { livekit }), ...(caddy === '' ? {} : { caddy }), ...(redis === '' ? {} : { redis }) },
    ...(wanted.livekit === undefined ? {} : { versions: { livekit: wanted.livekit } }),
    bundleDir: `${context.projectRoot}/bundle/components`,
    mirror: settings.COMPONENT_MIRROR === '' ? null : settings.COMPONENT_MIRROR,
    goProxy: settings.GOPROXY === '' ? null : settings.GOPROXY,
    emit: context.reporter.emit,
    signal: context.signal,
    isDryRun: wanted.isDryRun === true,
  });
}

/** Where components are kept. */
export function storeFolder(settings: Settings, topology: Topology): string {
  return settings.COMPONENT_DIR === '' ? `${topology.layout.root}/components` : settings.COMPONENT_DIR;
}

function binary(brought: BroughtComponents, component: ComponentName, name: string): string {
  const path = brought[component]?.binaries[name];
  if (path === undefined) throw new FleetError('COMPONENT_UNAVAILABLE', { component, tried: name });
  return path;
}

/** Where the Node that runs agent and service stands. */
function nodeIn(storeDir: string): string {
  return `${storeDir}/node/${process.versions.node}/bin/node`;
}

/** This very Node, copied to where the service user may read it (a checkout below /root is closed to it). */
async function bringNode(storeDir: string): Promise<string> {
  const target = nodeIn(storeDir);
  if (size(target) === size(process.execPath)) return target;
  const temporary = `${target}.${process.pid}`;
  try {
    await makeReadableFolder(storeDir, dirname(target));
    await copyFile(process.execPath, temporary);
    await chmod(temporary, 0o755);
    await rename(temporary, target);
    return target;
  } catch (error) {
    // Why it did not come about matters more.
    await rm(temporary, { force: true }).catch(() => undefined);
    throw isDiskFull(error) ? new FleetError('DISK_FULL', { path: storeDir }, { cause: error }) : error;
  }
}

/** Bytes of a file; -1 where it is missing. */
function size(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? -1;
}
