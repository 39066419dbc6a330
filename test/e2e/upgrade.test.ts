import { execa } from 'execa';
import { cp, mkdir, readFile, readlink } from 'node:fs/promises';
import { afterAll, beforeAll, describe, expect, inject, it } from 'vitest';
import { sendCommands } from '../../src/clients/sentinel.ts';
import { LEAVING_KEY, NODES_KEY } from '../../src/contract/node-record.ts';
import { brokenLivekit, createInstallation, untilWell } from './installation.ts';
import { putVersions } from './stand-in-versions.ts';
import type { Installation, Ran } from './installation.ts';

/**
 * Another version of LiveKit takes minutes to build. Stand-ins, in a store of this test: the same program under another
 * version, which is enough to see which folder's program runs, and one that ends at once where it should serve.
 */
describe('upgrade and rollback', () => {
  let place: Installation;
  let first = '';
  const SAME = '1.99.0';
  const BROKEN = '1.13.3';

  const run = (words: string, env: Record<string, string> = {}): Promise<Ran> => place.run(words.split(' '), env);
  /** Version, by its folder in the store, of the LiveKit process that runs, and its pid. */
  const running = async (): Promise<{ version: string | undefined; pid: number }> => {
    await untilWell(() => run('status'));
    const { parts } = JSON.parse((await run('status --json')).out) as { parts: Array<{ part: string; pid: number }> };
    const livekit = parts.find((one) => one.part === 'livekit');
    const program = await readlink(`/proc/${livekit?.pid}/exe`);
    return { version: /\/livekit\/([^/]+)\//.exec(program)?.[1], pid: livekit?.pid ?? 0 };
  };
  const noted = async (): Promise<unknown> => JSON.parse(await readFile(`${place.folder}/data/config/livekit-version.json`, 'utf8'));

  /** What the fleet's Redis says. */
  const redis = async (...words: readonly [string, ...string[]]): Promise<unknown> => {
    const password = /^REDIS_PASSWORD=(.*)$/m.exec(await readFile(place.envFile, 'utf8'))?.[1] ?? '';
    const [reply] = await sendCommands({ host: '127.0.0.1', port: place.ports['REDIS_PORT'] ?? 0, password }, [words]);
    return reply;
  };

  beforeAll(async () => {
    // Nobody outside is asked for versions that are not in the store.
    place = await createInstallation({ COMPONENT_MIRROR: 'http://127.0.0.1:1', GOPROXY: 'off' });
    const store = `${place.folder}/data/components`;
    await mkdir(`${place.folder}/data`);
    await cp(inject('componentStore'), store, { recursive: true, preserveTimestamps: true, verbatimSymlinks: true });
    first = await putVersions(store, { [SAME]: null, [BROKEN]: brokenLivekit });
    expect(await run('deploy')).toMatchObject({ code: 0 });
  });

  afterAll(async () => {
    await run('stop');
    await place.remove();
  });

  it('refuses what cannot be had, and changes nothing', async () => {
    const before = await running();
    expect(before.version).toBe(first);
    for (const [words, text] of [
      ['upgrade --to 9.9.9', 'LiveKit 9.9.9 is not in the store and could not be brought'],
      ['upgrade --to ../../x', '../../x is no version'],
      ['rollback', 'there is no former version to go back to'],
    ] as const) {
      const refused = await run(words);
      expect([words, refused.code]).toEqual([words, 2]);
      expect(refused.err).toContain(text);
    }
    expect(await run(`upgrade --to ${first}`)).toMatchObject({ code: 0 });
    expect((await run(`upgrade --to ${SAME}`, { LIVEKIT_PATH: '/bin/ls' })).code).toBe(2);
    const plan = await run(`upgrade --to ${SAME} --dry-run --json`);
    expect(JSON.parse(plan.out)).toMatchObject({ changes: expect.arrayContaining(['↻ livekit']) });
    expect(await running()).toEqual(before);
  });

  it('runs the version asked for, keeps to it in later deploys, and goes back', async () => {
    const upgraded = await run(`upgrade --to v${SAME}`);
    expect(upgraded, upgraded.err).toMatchObject({ code: 0 });
    expect(upgraded.out).toContain(`LiveKit ${SAME} runs and is well. Back to ${first}`);
    const now = await running();
    expect(now.version).toBe(SAME);
    expect(await noted()).toEqual({ version: SAME, former: first });
    const again = await run('upgrade');
    expect(again).toMatchObject({ code: 0 });
    expect(again.out).toContain(`Nothing to do: this machine has LiveKit ${SAME}`);
    // Of itself a deploy takes none but the catalogue's.
    expect((await run('deploy')).code).toBe(0);
    expect(await running()).toEqual(now);
    const back = await run('rollback');
    expect(back, back.err).toMatchObject({ code: 0 });
    expect((await running()).version).toBe(first);
    expect(await noted()).toEqual({ version: first, former: SAME });
    expect((await run('journal')).out).toMatch(new RegExp(`✓ .*upgrade --to v${SAME}(.|\n)*✓ .*rollback`));
  });

  it('has the former version run again where the new one does not serve', async () => {
    const before = await noted();
    const failed = await run(`upgrade --to ${BROKEN}`, { HEALTH_TIMEOUT: '5' });
    expect(failed.code).toBe(1);
    expect(failed.err).toContain('this one is broken');
    expect(failed.out).toContain(`LiveKit ${first}, the former version, runs again and is well`);
    expect((await running()).version).toBe(first);
    expect(await noted()).toEqual(before);
    expect(JSON.parse((await run('plan --json')).out)).toMatchObject({ changes: [] });
    expect((await run('journal')).out).toMatch(new RegExp(`✗ .*upgrade --to ${BROKEN}.*NOT_HEALTHY`));
  });

  it('goes on from where it was killed', async () => {
    const child = execa(`${import.meta.dirname}/../../部署.sh`, ['upgrade', '--env', place.envFile], {
      env: { LANG: 'C' },
      detached: true,
      reject: false,
    });
    child.stdout.on('data', (text: Buffer) => {
      if (text.includes('files')) process.kill(-(child.pid ?? 0), 'SIGKILL');
    });
    expect((await child).signal).toBe('SIGKILL');
    // Without --to it is the newest, which the killed run had begun with.
    // Others wait for longer than participants are given.
    expect(await redis('GET', LEAVING_KEY)).toBe('m127-0-0-1');
    expect(await redis('PTTL', LEAVING_KEY)).toBeGreaterThan(300_000);
    expect(await run('upgrade')).toMatchObject({ code: 0 });
    expect(await redis('GET', LEAVING_KEY)).toBe(null);
    expect((await running()).version).toBe(SAME);
    expect(await noted()).toEqual({ version: SAME, former: first });
    expect((await run('rollback')).code).toBe(0);
    expect((await running()).version).toBe(first);
  });

  it('waits its turn, and for the other machines to serve', async () => {
    const before = await running();
    await redis('SET', LEAVING_KEY, 'm10-9-9-9');
    const refused = await run(`upgrade --to ${SAME}`);
    expect(refused.code).toBe(1);
    expect(refused.err).toContain('Machine m10-9-9-9 is leaving the fleet or being upgraded');
    expect(await redis('GET', LEAVING_KEY)).toBe('m10-9-9-9');
    await redis('DEL', LEAVING_KEY);
    const own = JSON.parse(String(await redis('HGET', NODES_KEY, 'm127-0-0-1'))) as object;
    await redis('HSET', NODES_KEY, 'm10-9-9-9', JSON.stringify({ ...own, machine: 'm10-9-9-9', signalling: '10.9.9.9:7880', state: 'draining' }));
    const ill = await run(`upgrade --to ${SAME}`);
    await redis('HDEL', NODES_KEY, 'm10-9-9-9');
    expect(ill.code).toBe(1);
    expect(ill.err).toContain('These machines do not serve: m10-9-9-9 (draining)');
    expect(await redis('GET', LEAVING_KEY)).toBe(null);
    expect(await running()).toEqual(before);
  });
});
