import { readFileSync } from 'node:fs';
import { chmod, copyFile, mkdir, rename, stat } from 'node:fs/promises';
import { dirname } from 'node:path';
import { desire } from '../apply/desired.ts';
import { bringComponents } from '../components/bring.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Desired } from '../plan/plan.ts';
import { serviceFolder } from '../render/runit.ts';
import type { Settings } from '../settings/schema.ts';
import { processManager } from '../supervisor/processes.ts';
import type { ServiceManager } from '../supervisor/processes.ts';
import type { Topology } from '../topology/topology.ts';
import type { CliContext } from './context.ts';

/** Desired state and the way to control the parts, with all components at hand. */
export interface Prepared {
  readonly desired: Desired;
  readonly manager: ServiceManager;
}

/** Brings the components (nothing to do where they are in the store) and renders everything in memory. */
export async function prepare(context: CliContext, settings: Settings, topology: Topology): Promise<Prepared> {
  const storeDir = settings.COMPONENT_DIR === '' ? `${topology.layout.root}/components` : settings.COMPONENT_DIR;
  const overrides = {
    ...(settings.LIVEKIT_PATH === '' ? {} : { livekit: settings.LIVEKIT_PATH }),
    ...(settings.CADDY_PATH === '' ? {} : { caddy: settings.CADDY_PATH }),
    ...(settings.REDIS_SERVER_PATH === '' ? {} : { redis: settings.REDIS_SERVER_PATH }),
  };
  const [brought, node] = await Promise.all([
    bringComponents({
      names: ['livekit', 'caddy', 'redis', 'runit'],
      storeDir,
      overrides,
      bundleDir: null,
      mirror: settings.COMPONENT_MIRROR === '' ? null : settings.COMPONENT_MIRROR,
      goProxy: settings.GOPROXY === '' ? null : settings.GOPROXY,
      emit: context.reporter.emit,
      signal: context.signal,
    }),
    bringNode(storeDir),
  ]);
  const binary = (component: keyof typeof brought, name: string): string => {
    const path = brought[component]?.binaries[name];
    if (path === undefined) throw new FleetError('COMPONENT_UNAVAILABLE', { component, tried: name });
    return path;
  };
  const tools = dirname(binary('runit', 'runsvdir'));
  const apps = Object.fromEntries(['agent.mjs', 'service.mjs'].map((name) => [name, readFileSync(`${context.projectRoot}/dist/${name}`, 'utf8')]));
  const programs = { node, redisServer: binary('redis', 'redis-server'), livekitServer: binary('livekit', 'livekit-server'), caddy: binary('caddy', 'caddy') };
  const desired = desire({ settings, topology, programs, tools, livekitVersion: brought['livekit']?.version ?? '', apps });
  return { desired, manager: processManager(context.host, { tools, folder: serviceFolder(topology), runDir: topology.layout.run }) };
}

/** This very Node, copied to where the service user may read it (a checkout below /root is closed to it). */
async function bringNode(storeDir: string): Promise<string> {
  const target = `${storeDir}/node/${process.versions.node}/bin/node`;
  if ((await size(target)) === (await size(process.execPath))) return target;
  await mkdir(dirname(target), { recursive: true });
  await copyFile(process.execPath, `${target}.${process.pid}`);
  await chmod(`${target}.${process.pid}`, 0o755);
  await rename(`${target}.${process.pid}`, target);
  return target;
}

/** Bytes of a file; -1 where it is missing. */
function size(path: string): Promise<number> {
  return stat(path).then(
    (info) => info.size,
    () => -1,
  );
}
