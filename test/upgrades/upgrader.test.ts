import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { runUpgrade } from '../../src/agent/upgrade-runner.ts';
import type { UpgradeOrder } from '../../src/contract/orders.ts';
import { parseOrder } from '../../src/contract/orders.ts';
import { upgraderScript } from '../../src/render/upgrader.ts';
import { until } from '../e2e/installation.ts';

const ID = '0b9c5b0e-6f2e-4a53-9d7f-0d3b7c7f5a11';

/** The real program and the agent's side of it; the command that it runs is a stand-in that says what it was asked. */
describe.runIf(process.getuid?.() === 0)('the upgrades part', () => {
  let folder: string;
  let part: ReturnType<typeof spawn>;
  const files = (): { pipe: string; result: string; log: string } => ({ pipe: `${folder}/run.pipe`, result: `${folder}/run.result`, log: `${folder}/run.log` });
  const asked = (): Promise<string> => readFile(`${folder}/asked`, 'utf8').catch(() => '');
  const tell = (line: string): Promise<void> => appendFile(`${folder}/run.pipe`, `${line}\n`);
  const run = (upgrade: UpgradeOrder['upgrade'], id = ID): ReturnType<typeof runUpgrade> =>
    runUpgrade(files(), { id, untilMs: 0, language: 'zh', upgrade }, { signal: new AbortController().signal, onProgress: async () => {} });

  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/livekit-fleet-upgrades-`);
    await mkdir(`${folder}/project/dist`, { recursive: true });
    await writeFile(`${folder}/.env`, 'SECRET=1\n', { mode: 0o600 });
    await writeFile(`${folder}/project/dist/cli.js`, '');
    const command = `#!/bin/sh\necho "$*" >>${folder}/asked\necho '3 participant(s), 5 s'\ncase "$*" in *1.2.3*) echo '✗ it does not serve'; exit 1;; esac\necho '{"version":"1.2.4","current":"1.2.2"}'\n`;
    await writeFile(`${folder}/project/部署.sh`, command);
    await chmod(`${folder}/project/部署.sh`, 0o755);
    await writeFile(`${folder}/upgrades.sh`, upgraderScript);
    const words = [`${folder}/upgrades.sh`, `${folder}/run`, `${folder}/project`, `${folder}/.env`, 'processes'];
    part = spawn('/bin/sh', words, { stdio: 'ignore' });
    await until(async () => (await readFile(`${folder}/run.state`, 'utf8').catch(() => '')) === 'ready\n', 5_000);
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

  it('runs nothing that others than root could have changed', async () => {
    await chmod(`${folder}/project/dist/cli.js`, 0o666);
    const { code, detail } = await run({ to: '1.2.4', isNow: false });
    expect(code).toBe(2);
    expect(detail).toContain('dist/cli.js can be changed by others than root');
    expect(await asked()).toBe('');
  });

  it('lets the group of the service write to its pipe, and nobody read it', async () => {
    const pipe = await stat(files().pipe);
    expect([pipe.isFIFO(), (pipe.mode & 0o777).toString(8)]).toEqual([true, '620']);
  });
});

function json(upgrade: unknown, id = ID): string {
  return JSON.stringify({ id, untilMs: 1, language: 'en', upgrade });
}

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
