import { execa } from 'execa';
import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { mkdir, readFile, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { createInstallation, until } from './installation.ts';
import type { Installation } from './installation.ts';

/** What another user of the machine, or the parts' own user once someone has taken it over, can and cannot do to root's commands. */
describe('other users of the machine', () => {
  let place: Installation;
  let conf: string;

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    conf = `${place.folder}/data/state/redis/redis.conf`;
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await place.remove();
  });

  it('are told nothing when they listen on the port of a stopped part', async () => {
    await place.run(['stop']);
    const heard = `${place.folder}/heard`;
    await writeFile(heard, '', { mode: 0o666 });
    await execa('chmod', ['666', heard]);
    const squatter = await squat(place.ports['REDIS_PORT'] ?? 0, heard);
    try {
      const shown = await place.run(['status', '--json']);
      expect(shown.code).toBe(1);
      expect(shown.out).toMatch(/"part":"redis","state":"stopped".*?"ok":false,"detail":"port \d+ is held by user id 65534"/);
      for (const command of ['start', 'restart', 'deploy']) {
        const refused = await place.run([command]);
        expect(refused.err).toMatch(new RegExp(`Port ${place.ports['REDIS_PORT']}/tcp \\(redis\\) is used by .+ \\(pid ${squatter.pid}\\)`));
        expect(refused.code).toBe(1);
      }
      expect(await readFile(heard, 'utf8')).toBe('');
    } finally {
      squatter.kill('SIGKILL');
      await once(squatter, 'exit');
    }
    expect(await place.run(['start'])).toMatchObject({ code: 0 });
  });

  it('cannot make deploy wait, read another file or remove what is not ours', async () => {
    await rm(conf);
    await execa('mkfifo', [conf]);
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    expect((await stat(conf)).isFile()).toBe(true);
    await rm(conf);
    await symlink('/etc/shadow', conf);
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
    expect(await readFile(conf, 'utf8')).not.toContain('root:');
    await writeFile(conf, '');
    await mkdir(`${conf}.new`);
    await writeFile(`${conf}.new/precious`, '');
    const refused = await place.run(['deploy']);
    expect(refused).toMatchObject({ code: 1 });
    expect(refused.err).toContain(`${conf}.new is a folder`);
    expect((await stat(`${conf}.new/precious`)).isFile()).toBe(true);
    await rm(`${conf}.new`, { recursive: true });
    expect(await place.run(['deploy'])).toMatchObject({ code: 0 });
  });

  it('leaves no process behind, even after the supervisor was killed', async () => {
    const supervisor = (await readFile(`${place.folder}/data/run/supervisor.pid`, 'utf8')).trim();
    process.kill(Number(supervisor), 'SIGKILL');
    expect(await place.run(['stop'])).toMatchObject({ code: 0 });
    expect((await execa('pgrep', ['-f', place.folder], { reject: false })).stdout).toBe('');
    const cwds = await execa('sh', ['-c', `ls -l /proc/[0-9]*/cwd 2>/dev/null | grep -F ${place.folder}/ || true`]);
    expect(cwds.stdout).toBe('');
    expect(await place.run(['start'])).toMatchObject({ code: 0 });
  });

  it.each([
    [{ SERVICE_USER: 'root' }, 'SERVICE_USER=root has user id 0'],
    [{ DATA_DIR: '/var/lib' }, 'DATA_DIR=/var/lib holds something that is not of livekit-fleet'],
  ])('refuses %j before it changes anything', async (variables, words) => {
    const before = await stat('/var/lib');
    const refused = await place.run(['deploy'], variables);
    expect(refused.code).toBe(2);
    expect(refused.err).toContain(words);
    expect((await stat('/var/lib')).mode).toBe(before.mode);
  });

  it('refuses an --env that is not there, and writes through a link', async () => {
    const missing = await execa('./部署.sh', ['deploy', '--env', `${place.folder}/typo.env`], { reject: false, env: { LANG: 'C' } });
    expect(missing.exitCode).toBe(2);
    expect(missing.stderr).toContain(`${place.folder}/typo.env`);
    const link = `${place.folder}/link.env`;
    await symlink(place.envFile, link);
    const token = /^SERVICE_API_TOKEN=.*\n/m;
    await writeFile(place.envFile, (await readFile(place.envFile, 'utf8')).replace(token, ''));
    const linked = await execa('./部署.sh', ['deploy', '--env', link], { reject: false, env: { LANG: 'C' } });
    expect(linked.exitCode).toBe(0);
    expect(await readFile(place.envFile, 'utf8')).toMatch(token);
  });
});

/** Listens as `nobody` and appends what it hears to a file. */
async function squat(port: number, heard: string): Promise<ChildProcess> {
  const program = `require('net').createServer((s) => s.on('data', (d) => require('fs').appendFileSync(${JSON.stringify(heard)}, d)).on('error', () => {})).listen(${port}, '127.0.0.1', () => console.log('up'))`;
  const child = spawn(process.execPath, ['-e', program], { uid: 65_534, gid: 65_534, stdio: ['ignore', 'pipe', 'inherit'] });
  let isUp = false;
  child.stdout.once('data', () => {
    isUp = true;
  });
  await until(async () => isUp, 10_000);
  return child;
}
