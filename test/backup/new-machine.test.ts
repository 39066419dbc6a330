import { execa } from 'execa';
import { copyFile, readFile, readdir, rm } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { networkInterfaces } from 'node:os';
import { createInstallation, untilWell } from '../e2e/installation.ts';
import type { Installation } from '../e2e/installation.ts';
import { runMortal } from '../e2e/run-mortal.ts';

/** A machine that has nothing but an archive of the first of a fleet: nothing says which role, folder and keys it is to have but that. */
describe('a new machine', () => {
  let place: Installation;
  let archive = '';
  const data = (): string => `${place.folder}/data`;
  const secret = async (): Promise<string | undefined> => /^LIVEKIT_API_SECRET=(.+)$/m.exec(await readFile(place.envFile, 'utf8'))?.[1];
  const role = async (): Promise<string> => (JSON.parse(await readFile(`${data()}/config/role.json`, 'utf8')) as { role: string }).role;
  const killAt = (n: number): Promise<{ stderr: string; signal?: string | undefined }> =>
    runMortal(`${import.meta.dirname}/restore-killed-at.ts`, [place.envFile, archive, String(n)]);

  async function lose(): Promise<void> {
    await place.run(['stop']);
    await rm(data(), { recursive: true, force: true });
    await rm(place.envFile, { force: true });
  }

  beforeAll(async () => {
    // Its name is that of its address, which the settings say.
    const own = Object.values(networkInterfaces()).flatMap((list) => list ?? []);
    const address = own.find((one) => one.family === 'IPv4' && !one.internal)?.address ?? '';
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore'), NODES: address, FIREWALL: 'off' });
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    const made = JSON.parse((await place.run(['backup', '--json'])).out) as { path: string };
    archive = `${place.folder}/kept.tar.zst`;
    await copyFile(made.path, archive);
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it('is new again where a restore was broken off, and gets role, keys and folder of the archive by the same command', async () => {
    const before = await secret();
    await lose();
    const acts = (await killAt(0)).stderr.trimEnd().split('\n');
    expect(await role()).toBe('all');
    // Once the settings are there; right before it is complete.
    const moves = acts.flatMap((name, index) => (name === 'move' ? [index + 1] : []));
    const last = acts.lastIndexOf('write') + 1;
    for (const n of new Set([(moves.at(-1) ?? 0) + 2, last])) {
      await lose();
      expect((await killAt(n)).signal, `act ${n}: ${acts[n - 1]}`).toBe('SIGKILL');
      const done = await place.run(['restore', archive, '--yes']);
      expect(done.code, `after a kill before act ${n} (${acts[n - 1]}): ${done.err}`).toBe(0);
      expect([await role(), await secret()]).toEqual(['all', before]);
      expect(await readFile(place.envFile, 'utf8')).toMatch(new RegExp(`^DATA_DIR=${data()}$`, 'm'));
      expect(await readdir(`${data()}/state`)).not.toContain('restore');
      await untilWell(() => place.run(['status']));
      // Nowhere else.
      expect((await execa('ls', ['/var/lib/livekit-fleet'], { reject: false })).exitCode).not.toBe(0);
    }
  });
});
