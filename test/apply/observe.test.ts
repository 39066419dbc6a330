import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { expect, onTestFinished, test } from 'vitest';
import { appliedFile, observe } from '../../src/apply/observe.ts';
import { localHost } from '../../src/host/host.ts';
import { makePlan } from '../../src/plan/plan.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import type { PartStatus } from '../../src/supervisor/service-manager.ts';
import { planTopology } from '../../src/topology/topology.ts';
import { idleManager } from './idle-manager.ts';

test.each([
  ['runs', 'running', []],
  ['keeps ending', 'failing', ['start']],
  ['is down', 'stopped', ['start']],
  ['was told to end, and is still waited for,', 'stopping', ['restart']],
] as const)('a part that %s, and has not changed', async (_name, state, expected) => {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-`);
  onTestFinished(() => rm(folder, { recursive: true }));
  const { settings } = parseSettings(`DATA_DIR=${folder}/data\n`, {});
  if (settings === null) throw new Error('these settings are good');
  const topology = planTopology(settings, 'all', { addresses: ['192.168.1.2'], hasSystemd: false, hasNft: false });
  const desired = { files: [], parts: topology.parts.map((part) => ({ part, fingerprint: `of ${part}` })) };
  await mkdir(dirname(appliedFile(topology)), { recursive: true });
  await writeFile(appliedFile(topology), JSON.stringify(Object.fromEntries(desired.parts.map(({ part, fingerprint }) => [part, fingerprint]))));
  const status = async (): Promise<PartStatus[]> =>
    topology.parts.map((part) => ({ part, state: part === 'livekit' ? state : 'running', pid: 7, uptimeSeconds: 1, exits: 0, lastExit: null }));
  const changes = makePlan(desired, await observe(localHost(), desired, { topology, manager: { ...idleManager, status } }));
  expect(changes).toEqual(expected.map((kind) => ({ kind, part: 'livekit', fingerprint: 'of livekit' })));
});
