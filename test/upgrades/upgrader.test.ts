import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, chown, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runUpgrade } from '../../src/agent/upgrade-runner.ts';
import type { UpgradeOrder } from '../../src/contract/orders.ts';
import { parseOrder, parseReport } from '../../src/contract/orders.ts';
import { upgraderScript } from '../../src/render/upgrader.ts';
import { until } from '../e2e/installation.ts';
import { hasReader, isRead } from '../reader.ts';

const ID = '0b9c5b0e-6f2e-4a53-9d7f-0d3b7c7f5a11';

/** The real program and the agent's side of it; the command that it runs is a stand-in that says what it was asked. */
describe.runIf(process.getuid?.() === 0)('the upgrades part', () => {
  let folder: string;
  let part: ReturnType<typeof spawn>;
  const files = (): { pipe: string; result: string; log: string } => ({
    pipe: `${folder}/data/run/upgrades.pipe`,
    result: `${folder}/data/run/upgrades.result`,
    log: `${folder}/data/run/upgrades.log`,
  });
  const asked = (): Promise<string> => readFile(`${folder}/asked`, 'utf8').catch(() => '');
  const tell = (line: string): Promise<void> => appendFile(`${folder}/data/run/upgrades.pipe`, `${line}\n`);
  const startPart = async (): Promise<void> => {
    const words = [`${folder}/upgrades.sh`, `${folder}/data/run/upgrades`, `${folder}/project`, `${folder}/.env`, 'processes'];
    part = spawn('/bin/sh', words, { stdio: 'ignore' });
    await until(async () => (await readFile(`${folder}/data/run/upgrades.state`, 'utf8').catch(() => '')) === 'ready\n', 5_000);
  };
  const run = (upgrade: UpgradeOrder['upgrade'], id = ID): ReturnType<typeof runUpgrade> =>
    runUpgrade(files(), { id, untilMs: 0, language: 'zh', upgrade }, { signal: new AbortController().signal, onProgress: async () => {} });

  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/livekit-fleet-upgrades-`);
    for (const name of ['data/run', 'project/dist', 'project/node_modules/node/bin']) await mkdir(`${folder}/${name}`, { recursive: true });
    await writeFile(`${folder}/project/node_modules/node/bin/node`, '');
    await writeFile(`${folder}/.env`, 'SECRET=1\n', { mode: 0o600 });
    await writeFile(`${folder}/project/dist/cli.js`, '');
    const command = `#!/bin/sh\necho "$*" >>${folder}/asked\necho '3 participant(s), 5 s'\ncase "$*" in *1.2.6*) until [ -e ${folder}/go-on ]; do sleep 0.1; done;; *1.2.3*) echo '✗ it does not serve'; exit 1;; esac\necho '{"version":"1.2.4","current":"1.2.2"}'\n`;
    await writeFile(`${folder}/project/部署.sh`, command);
    await chmod(`${folder}/project/部署.sh`, 0o755);
    await writeFile(`${folder}/upgrades.sh`, upgraderScript);
    await startPart();
  });

  afterEach(async () => {
    const gone = once(part, 'exit');
    part.kill('SIGTERM');
    await gone;
    await rm(folder, { recursive: true });
  });

  it('carries out an order once, and says how it ended', async () => {
    expect(await run({ to: '1.2.4', isNow: false })).toEqual({ code: 0, detail: '{"version":"1.2.4","current":"1.2.2"}' });
    // An agent that was started anew asks again.
    expect(await run({ to: '1.2.4', isNow: false })).toMatchObject({ code: 0 });
    await tell(`${ID} zh upgrade 1.2.4`);
    expect(await run({ to: '1.2.3-rc.1', isNow: true }, ID.replace('0b', '1c'))).toEqual({ code: 1, detail: '✗ it does not serve' });
    expect(await run({ fetch: 'former' }, ID.replace('0b', '2c'))).toMatchObject({ code: 0 });
    expect(await run({ fetch: 'newest' }, ID.replace('0b', '3c'))).toMatchObject({ code: 0 });
    expect(await run({ fetch: '1.2.5' }, ID.replace('0b', '4c'))).toMatchObject({ code: 0 });
    expect((await asked()).replaceAll(folder, '').trim().split('\n')).toEqual([
      'upgrade --yes --to 1.2.4 --lang zh --env /.env',
      'upgrade --yes --now --to 1.2.3-rc.1 --lang zh --env /.env',
      'rollback --fetch --json --env /.env',
      'upgrade --fetch --json --env /.env',
      'upgrade --fetch --to 1.2.5 --json --env /.env',
    ]);
  });

  it('refuses whatever is none of its three words', async () => {
    for (const line of [
      `${ID} zh upgrade 1.2.4; reboot`,
      `${ID} zh upgrade ../../1.2.4`,
      // What some shells' echo makes two lines of, one of which is a version.
      `${ID} zh upgrade 1.2.4\\n../../x`,
      `${ID}\\nx zh upgrade 1.2.4`,
      `${ID} zh upgrade $(reboot)`,
      `${ID} zh upgrade 1.2.4 --now`,
      `${ID} zh upgrade newest`,
      `${ID} zh upgrade`,
      `${ID} zh uninstall 1.2.4`,
      `${ID} zh fetch *`,
      `${ID} --lang upgrade 1.2.4`,
      `../../${ID} zh upgrade 1.2.4`,
      'x zh upgrade 1.2.4',
      '',
      'x'.repeat(9_000),
    ])
      await tell(line);
    // What is asked last is done last.
    await run({ fetch: '9.9.9' });
    expect((await asked()).trim().split('\n')).toHaveLength(1);
  });

  it.each([
    ['a file of what is run', 'project/dist/cli.js', 0o666, 'dist/cli.js'],
    ['one further down', 'project/node_modules/node/bin/node', 0o777, 'bin/node'],
    ['the settings', '.env', 0o602, '.env'],
    ['a folder on the way', '.', 0o777, ''],
  ])('runs nothing that others than root could have changed: %s', async (_what, path, mode, named) => {
    await chmod(`${folder}/${path}`, mode);
    const { code, detail } = await run({ to: '1.2.4', isNow: false });
    expect(code).toBe(2);
    expect(detail).toContain(`${named} can be changed by others than root`.trim());
    expect(await asked()).toBe('');
  });

  it('runs nothing that another user owns', async () => {
    await chown(`${folder}/project/node_modules/node/bin/node`, 65_534, 65_534);
    expect(await run({ to: '1.2.4', isNow: false })).toMatchObject({ code: 2 });
    expect(await asked()).toBe('');
  });

  it('runs one command at a time', async () => {
    const first = run({ to: '1.2.6', isNow: false });
    await until(async () => (await asked()) !== '', 5_000);
    await tell(`${ID.replace('0b', '1c')} zh upgrade 1.2.4`);
    await until(async () => (await readFile(files().log, 'utf8')).includes('another one goes on'), 5_000);
    expect((await asked()).trim().split('\n')).toHaveLength(1);
    await writeFile(`${folder}/go-on`, '');
    // Its number was another's meanwhile; how it ended stands there all the same.
    expect(await first).toMatchObject({ code: 0 });
  });

  it('says of a command that was broken off that it was, to whoever asks again', async () => {
    await writeFile(files().result, `${ID} -\n`);
    expect(await run({ to: '1.2.4', isNow: false })).toEqual({ code: 2, detail: '✗ it was broken off' });
    expect(await asked()).toBe('');
  });

  it('is told once more after it was away', async () => {
    const gone = once(part, 'exit');
    part.kill('SIGTERM');
    await gone;
    const running = run({ to: '1.2.4', isNow: false });
    await startPart();
    expect(await running).toMatchObject({ code: 0 });
  }, 20_000);

  it('leaves no process where it is killed', async () => {
    await until(async () => hasReader(part.pid ?? 0), 5_000);
    const gone = once(part, 'exit');
    part.kill('SIGKILL');
    await gone;
    await until(async () => !(await isRead(files().pipe)), 5_000);
    await rm(`${folder}/data/run/upgrades.state`);
    await startPart();
  });

  it('lets the group of the service write to its pipe, and nobody read it', async () => {
    const pipe = await stat(files().pipe);
    expect([pipe.isFIFO(), (pipe.mode & 0o777).toString(8)]).toEqual([true, '620']);
  });
});

function json(upgrade: unknown, id = ID): string {
  return JSON.stringify({ id, untilMs: 1, language: 'en', upgrade });
}

it('a report of another machine shows a terminal no commands', () => {
  const report = { id: 'x', state: 'failed', participants: 0, secondsLeft: 0, detail: 'a\u001b[2Jb\nc' };
  expect(parseReport(JSON.stringify(report))?.detail).toBe('a [2Jb c');
});

it('an order holds a version that is one, and nothing else', () => {
  expect(parseOrder(json({ to: '1.13.5', isNow: false }))).not.toBeNull();
  expect(parseOrder(json({ fetch: 'former' }))).not.toBeNull();
  for (const wrong of [
    { to: '../x', isNow: false },
    { to: 'newest', isNow: false },
    { fetch: '1.2' },
    { fetch: '1.2.3\n' },
    { to: '1.2.3', isNow: false, more: 1 },
    {},
  ])
    expect(parseOrder(json(wrong)), JSON.stringify(wrong)).toBeNull();
  expect(parseOrder(json({ fetch: 'former' }, 'x y'))).toBeNull();
});
