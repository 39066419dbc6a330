import { existsSync, globSync, readFileSync, readdirSync, readlinkSync } from 'node:fs';
import { mkdir, mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { expect, inject, it, onTestFinished } from 'vitest';
import { localHost } from '../../src/host/host.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { processManager } from '../../src/supervisor/processes.ts';
import type { ServiceManager } from '../../src/supervisor/service-manager.ts';
import { planTopology } from '../../src/topology/topology.ts';
import type { Part } from '../../src/topology/topology.ts';
import { until } from '../e2e/installation.ts';

/** Real runit over a part with this script. */
async function supervise(script: string): Promise<{ manager: ServiceManager; folder: string; state: () => Promise<string | undefined> }> {
  const root = await mkdtemp(`${tmpdir()}/livekit-fleet-runit-`);
  const { settings } = parseSettings(`DATA_DIR=${root}\n`, {});
  if (settings === null) throw new Error('bad settings');
  const topology = { ...planTopology(settings, 'all', { addresses: [], hasSystemd: false, hasNft: false }), parts: ['service'] satisfies Part[] };
  const [tools = ''] = globSync(`${inject('componentStore')}/runit/*/usr/bin`);
  const folder = `${topology.layout.run}/services/service`;
  await mkdir(folder, { recursive: true });
  await writeFile(`${folder}/run`, `#!/bin/sh\n${script}\n`, { mode: 0o755 });
  await writeFile(`${folder}/down`, '');
  const manager = processManager(localHost(), topology, { tools, now: Date.now });
  onTestFinished(async () => {
    await manager.stopAll();
    await rm(root, { recursive: true });
  });
  return { manager, folder, state: async () => (await manager.status(['service']))[0]?.state };
}

it('says at once that nobody supervises a part', async () => {
  const { manager } = await supervise('exec sleep 1000');
  // Where somebody may still come it waits for eight seconds.
  const first = await Promise.race([manager.stop('service').catch((error: unknown) => error), delay(6_000)]);
  expect(first).toMatchObject({ code: 'PART_NOT_CONTROLLED' });
});

it('starts a part of a supervisor that has just begun, waits until it has ended, and ends one that is failing', async () => {
  const { manager, folder, state } = await supervise('trap "sleep 0.5; exit" TERM; while :; do sleep 0.05; done');
  await manager.activate({ isChanged: true });
  await manager.start('service');
  await until(async () => (await state()) === 'running', 10_000);
  await manager.restart('service');
  await until(async () => (await state()) === 'running', 10_000);
  await manager.stop('service');
  expect(await manager.status(['service'])).toMatchObject([{ state: 'stopped', pid: null }]);
  await writeFile(`${folder}/run`, '#!/bin/sh\nexit 1\n');
  await manager.start('service');
  await until(async () => (await state()) === 'failing', 10_000);
  await manager.stop('service');
  await delay(1_200);
  expect(await state()).toBe('stopped');
});

it('ends a part whose runsv is killed in the meantime: the next one is told as well', async () => {
  const { manager, folder, state } = await supervise('trap "sleep 0.5; exit" TERM; while :; do sleep 0.05; done');
  await rm(`${folder}/down`);
  await manager.activate({ isChanged: true });
  await until(async () => (await state()) === 'running', 10_000);
  const stopped = manager.stop('service');
  await delay(100);
  process.kill(runsvIn(folder), 'SIGKILL');
  await stopped;
  await delay(1_200);
  expect(await state()).toBe('stopped');
});

it('lets a part that was told to end go on, and starts it again once it has ended', async () => {
  const { manager } = await supervise('trap "sleep 1; exit" TERM; while :; do sleep 0.05; done');
  const pid = async (): Promise<number | null | undefined> => (await manager.status(['service']))[0]?.pid;
  await manager.activate({ isChanged: true });
  await manager.start('service');
  await until(async () => typeof (await pid()) === 'number', 10_000);
  const before = await pid();
  await manager.beginStop('service');
  await delay(100);
  await manager.beginStart('service');
  await delay(300);
  expect(await pid()).toBe(before);
  await until(async () => typeof (await pid()) === 'number' && (await pid()) !== before, 10_000);
});

it('takes over what a killed supervisor has left: who runs goes on, who was stopped stays so, and is watched by the next one', async () => {
  const { manager, folder, state } = await supervise('exec sleep 1000');
  await rm(`${folder}/down`);
  const pid = async (): Promise<number | null | undefined> => (await manager.status(['service']))[0]?.pid;
  await manager.activate({ isChanged: true });
  await until(async () => (await state()) === 'running', 10_000);
  const before = await pid();
  await killSupervisor(folder);
  await manager.activate({ isChanged: false });
  expect(await pid()).toBe(before);
  await manager.stop('service');
  await killSupervisor(folder);
  await manager.activate({ isChanged: false });
  expect(parentOf(runsvIn(folder))).toBe(supervisorOf(folder));
  expect(await state()).toBe('stopped');
  expect(existsSync(`${folder}/down`)).toBe(false);
  await manager.start('service');
  await until(async () => (await state()) === 'running', 10_000);
});

it('ends the runsv of a part that was retired after its supervisor was killed', async () => {
  const { manager, folder, state } = await supervise('exec sleep 1000');
  await rm(`${folder}/down`);
  await manager.activate({ isChanged: true });
  await until(async () => (await state()) === 'running', 10_000);
  const forsaken = runsvIn(folder);
  await killSupervisor(folder);
  await manager.activate({ isChanged: false });
  await manager.retire('service');
  expect(existsSync(`/proc/${forsaken}/exe`)).toBe(true);
  await manager.stopAll();
  expect(existsSync(`/proc/${forsaken}/exe`)).toBe(false);
});

async function killSupervisor(folder: string): Promise<void> {
  const isThere = (): boolean => existsSync(`/proc/${supervisorOf(folder)}/exe`);
  await until(async () => isThere(), 10_000);
  process.kill(supervisorOf(folder), 'SIGKILL');
  await until(async () => !isThere(), 10_000);
}

/** The runsvdir that the pid file names; 0 until it is there. */
function supervisorOf(folder: string): number {
  const path = join(dirname(dirname(folder)), 'supervisor.pid');
  return existsSync(path) ? Number(readFileSync(path, 'utf8')) : 0;
}

/** The process that has started this one. */
function parentOf(pid: number): number {
  return Number(readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ')[1]);
}

/** The process that watches this folder. */
function runsvIn(folder: string): number {
  const isIt = (pid: string): boolean => {
    try {
      return readFileSync(`/proc/${pid}/comm`, 'utf8') === 'runsv\n' && readlinkSync(`/proc/${pid}/cwd`) === folder;
    } catch {
      // It has ended meanwhile.
      return false;
    }
  };
  return Number(readdirSync('/proc').find((name) => /^\d+$/.test(name) && isIt(name)));
}
