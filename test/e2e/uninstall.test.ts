import { execa } from 'execa';
import { access, mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, expect, inject, it, onTestFinished } from 'vitest';
import { createInstallation } from './installation.ts';
import type { Installation } from './installation.ts';

/** A gateway whose DATA_DIR is a disk of its own. One story; the order matters. */
let place: Installation;
let data: string;

beforeAll(async () => {
  // A user of its own: the purge removes it.
  place = await createInstallation({ COMPONENT_DIR: inject('componentStore'), SERVICE_USER: 'livekit-purged' });
  data = `${place.folder}/data`;
  for (const folder of [data, `${place.folder}/disk`]) await mkdir(folder);
  await execa('mount', ['--bind', `${place.folder}/disk`, data]);
  await mkdir(`${data}/lost+found`);
  expect(await place.run(['deploy-caddy-service-only'])).toMatchObject({ code: 0 });
});

afterAll(async () => {
  await place.run(['stop']);
  await execa('umount', ['--recursive', data]);
  await execa('userdel', ['livekit-purged'], { reject: false });
  await place.remove();
});

it('removes what is ours from a disk of its own, and names what others have there', async () => {
  await mkdir(`${data}/components/cache`, { recursive: true });
  await execa('mount', ['-t', 'tmpfs', 'livekit-fleet', `${data}/components/cache`]);
  await writeFile(`${data}/components/cache/old`, '');
  await writeFile(`${data}/notes.txt`, 'of others');
  const done = await place.run(['uninstall', '--purge', '--yes']);
  expect(done).toMatchObject({ code: 0, err: '' });
  expect(done.out).toContain(`Kept: ${place.envFile}, ${data}/notes.txt`);
  expect((await readdir(data, { recursive: true })).toSorted()).toEqual(['components', 'components/cache', 'lost+found', 'notes.txt']);
  expect((await execa('getent', ['passwd', 'livekit-purged'], { reject: false })).exitCode).toBe(2);
  await access(place.envFile);
});

it('purges what an uninstallation has kept, and no user that was there before', async () => {
  await execa('useradd', ['--system', 'livekit-kept']);
  onTestFinished(async () => void (await execa('userdel', ['livekit-kept'])));
  const env = { SERVICE_USER: 'livekit-kept' };
  await rm(`${data}/notes.txt`);
  expect(await place.run(['deploy-caddy-service-only'], env)).toMatchObject({ code: 0 });
  expect(await place.run(['uninstall', '--yes'], env)).toMatchObject({ code: 0, err: '' });
  expect((await readdir(data)).toSorted()).toEqual(['components', 'logs', 'lost+found', 'state']);
  expect(await place.run(['uninstall', '--purge', '--yes'], env)).toMatchObject({ code: 0, err: '' });
  expect((await readdir(data)).toSorted()).toEqual(['components', 'lost+found']);
  expect((await execa('getent', ['passwd', 'livekit-kept'])).exitCode).toBe(0);
});
