import { execa } from 'execa';
import { readFile, rm, writeFile } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it, onTestFinished } from 'vitest';
import { brokenLivekit, createInstallation, untilWell } from './installation.ts';
import type { Installation } from './installation.ts';
import { runMortal } from './run-mortal.ts';

/** A deploy that is killed, or that finds no space: what stood goes on, and the next run reaches its end. */
describe('interrupted deploy', () => {
  let place: Installation;
  const data = (): string => `${place.folder}/data`;
  const pids = async (): Promise<unknown[]> => {
    const { parts } = JSON.parse((await place.run(['status', '--json'])).out) as { parts: Array<{ part: string; pid: number }> };
    return parts.map(({ part, pid }) => `${part} ${pid}`);
  };

  const killAt = (n: number, level: string): Promise<{ stderr: string; signal?: string | undefined }> =>
    runMortal(`${import.meta.dirname}/deploy-killed-at.ts`, [place.envFile, String(n)], { LOG_LEVEL: level });

  beforeAll(async () => {
    place = await createInstallation({ COMPONENT_DIR: inject('componentStore') });
    await execa('mkdir', [data()]);
    await execa('mount', ['-t', 'tmpfs', '-o', 'size=64m,mode=755', 'tmpfs', data()]);
  });

  afterAll(async () => {
    await place.run(['stop', '--yes', '--now']);
    await execa('umount', [data()]);
    await place.remove();
  });

  it('converges after a kill before each of its acts', async () => {
    // The first deploy of all dies on and on, a little later each time.
    for (let n = 1; n < 40; n += 3) expect((await killAt(n, 'info')).signal).toBe('SIGKILL');
    expect((await place.run(['deploy'])).code).toBe(0);
    const all = (await killAt(0, 'warn')).stderr.trimEnd().split('\n');
    // Of a row of equal acts (twenty files staged) the first, the second and the last say all that there is to say.
    const acts = all.flatMap((name, index) => (name === all[index - 1] && name === all[index - 2] && name === all[index + 1] ? [] : [index + 1]));
    let kills = 0;
    for (const [turn, n] of acts.entries()) {
      const level = turn % 2 === 0 ? 'info' : 'warn';
      // The first half kills a deploy that changes what runs, the second one that starts what does not run.
      if (turn % 4 === 3) await place.run(['stop']);
      const killed = await killAt(n, level);
      // A deploy after a stop may have fewer acts; then it came to its end.
      if (killed.signal === 'SIGKILL') kills += 1;
      const next = await place.run(['deploy'], { LOG_LEVEL: level });
      expect(next.code, `after a kill before act ${n}: ${next.err}`).toBe(0);
      const plan = await place.run(['plan', '--json'], { LOG_LEVEL: level });
      expect(JSON.parse(plan.out), `after a kill before act ${n}`).toMatchObject({ changes: [] });
    }
    expect(kills).toBeGreaterThan(acts.length - 5);
    const { stdout } = await execa('find', [data(), '-name', '*.new', '-o', '-name', '*.former']);
    expect(stdout).toBe('');
    expect((await place.run(['verify'])).code).toBe(0);
  });

  it.each(['SIGINT', 'SIGHUP'] as const)('puts back what stood at %s, which a terminal sends to all its processes', async (signal) => {
    expect((await place.run(['deploy'])).code).toBe(0);
    const argv = [`${import.meta.dirname}/../../部署.sh`, 'deploy', '--env', place.envFile];
    const [program = '', ...words] = argv;
    const child = execa(program, words, { env: { LANG: 'C', LOG_LEVEL: 'error' }, detached: true, reject: false });
    child.stdout.on('data', (text: Buffer) => {
      if (text.includes('livekit restart')) process.kill(-(child.pid ?? 0), signal);
    });
    const { exitCode, stderr, stdout } = await child;
    expect(stderr).toContain('Interrupted.');
    expect(stdout).toContain('The former files are back');
    expect(exitCode).toBe(130);
    await untilWell(() => place.run(['status']));
    expect(JSON.parse((await place.run(['plan', '--json'])).out)).toMatchObject({ changes: [] });
  });

  it('goes on in silence when nobody listens any more', async () => {
    const line = `LOG_LEVEL=error ${import.meta.dirname}/../../部署.sh deploy --env ${place.envFile} | head -n 1`;
    const { stderr, stdout } = await execa('bash', ['-c', line], { env: { LANG: 'C' } });
    expect(stdout.split('\n').length).toBe(1);
    expect(stderr).toBe('');
    expect(JSON.parse((await place.run(['plan', '--json'], { LOG_LEVEL: 'error' })).out)).toMatchObject({ changes: [] });
  });

  it('changes nothing when the disk is full, and goes on when there is space', async () => {
    await place.run(['deploy']);
    const before = await pids();
    const config = `${data()}/config/livekit.yaml`;
    const text = await readFile(config, 'utf8');
    await execa('dd', ['if=/dev/zero', `of=${data()}/state/filler`, 'bs=64k'], { reject: false });
    const full = await place.run(['deploy'], { LOG_LEVEL: 'debug' });
    onTestFinished(() => rm(`${data()}/state/filler`, { force: true }));
    expect(full.code).toBe(1);
    expect(full.err).toContain(`No space left while writing ${data()}`);
    expect(await readFile(config, 'utf8')).toBe(text);
    expect(await pids()).toEqual(before);
    await rm(`${data()}/state/filler`);
    expect((await place.run(['deploy'], { LOG_LEVEL: 'debug' })).code).toBe(0);
    expect(await readFile(config, 'utf8')).toContain('debug');
  });

  it('leaves nothing running when the first deploy fails', async () => {
    await place.run(['stop']);
    await execa('find', [data(), '-mindepth', '1', '-delete']);
    await writeFile(`${place.folder}/broken`, brokenLivekit, { mode: 0o755 });
    const failed = await place.run(['deploy'], { LIVEKIT_PATH: `${place.folder}/broken`, HEALTH_TIMEOUT: '3' });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('this one is broken');
    const { parts } = JSON.parse((await place.run(['status', '--json'])).out) as { parts: Array<{ state: string }> };
    expect(new Set(parts.map((one) => one.state))).toEqual(new Set(['stopped']));
    expect((await place.run(['deploy'])).code).toBe(0);
  });
});
