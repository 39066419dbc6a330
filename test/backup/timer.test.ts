import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, mkdir, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { backupTimerScript } from '../../src/render/backup-timer.ts';
import { until } from '../e2e/installation.ts';

/** The real program; the command that it runs is a stand-in that notes what it was asked, and ends as it is told. */
describe.runIf(process.getuid?.() === 0)('the backups part', () => {
  let folder: string;
  let part: ReturnType<typeof spawn> | null = null;
  const text = (name: string): Promise<string> => readFile(`${folder}/${name}`, 'utf8').catch(() => '');
  const secondsLeft = async (): Promise<number> => Number(await text('run.next')) - Date.now() / 1000;

  function start(interval: number): void {
    part = spawn('/bin/sh', [`${folder}/backups.sh`, `${folder}/run`, `${folder}/project`, `${folder}/.env`, 'processes', String(interval)], {
      stdio: 'ignore',
    });
  }
  async function stop(): Promise<void> {
    if (part === null) return;
    const gone = once(part, 'exit');
    part.kill('SIGTERM');
    await gone;
    part = null;
  }

  beforeEach(async () => {
    folder = await mkdtemp(`${tmpdir()}/livekit-fleet-backups-`);
    await mkdir(`${folder}/project/dist`, { recursive: true });
    await writeFile(`${folder}/.env`, '', { mode: 0o600 });
    await writeFile(`${folder}/project/dist/cli.js`, '');
    await writeFile(`${folder}/project/部署.sh`, `#!/bin/sh\necho "$*" >>${folder}/asked\nexit "$(cat ${folder}/code)"\n`);
    await chmod(`${folder}/project/部署.sh`, 0o755);
    await writeFile(`${folder}/code`, '0');
    await writeFile(`${folder}/backups.sh`, backupTimerScript);
  });

  afterEach(async () => {
    await stop();
    await rm(folder, { recursive: true });
  });

  it('waits ten minutes for the first one, and keeps to that when it is started anew', async () => {
    start(86_400);
    await until(async () => (await text('run.state')).startsWith('next backup'), 5_000);
    const next = await text('run.next');
    expect(await secondsLeft()).toBeGreaterThan(590);
    expect(await secondsLeft()).toBeLessThanOrEqual(600);
    await stop();
    start(86_400);
    await until(async () => (await text('run.state')).startsWith('next backup'), 5_000);
    expect(await text('run.next')).toBe(next);
    await stop();
    // A shorter interval counts at once.
    await writeFile(`${folder}/run.next`, `${Math.floor(Date.now() / 1000) + 80_000}\n`);
    start(3_600);
    await until(async () => Math.abs((await secondsLeft()) - 3_600) < 10, 5_000);
    expect(await text('asked')).toBe('');
  });

  it('makes and proves a backup when it is due, and removes old ones', async () => {
    await writeFile(`${folder}/run.next`, '1');
    start(86_400);
    await until(async () => (await text('asked')) !== '' && (await text('run.state')).startsWith('next backup') && (await secondsLeft()) > 0, 5_000);
    expect(await text('asked')).toBe(`backup --verify --prune --env ${folder}/.env\n`);
    expect(await secondsLeft()).toBeGreaterThan(86_300);
    // The command says when it succeeds.
    expect(await text('run.last')).toBe('');
  });

  it('makes one again and again', async () => {
    start(1);
    await until(async () => (await text('asked')).split('\n').length > 2, 10_000);
  });

  it.each([
    ['1', /^✗ the backup of [\dT:-]+Z failed \(see logs backups\)\n$/, 3_600],
    ['3', /^$/, 60],
  ])('tries again after exit code %s, and keeps in mind what failed', async (code, last, seconds) => {
    await writeFile(`${folder}/code`, code);
    await writeFile(`${folder}/run.next`, '1');
    start(86_400);
    const isWaiting = async (): Promise<boolean> => (await text('run.state')).includes('next backup') && (await secondsLeft()) > 0;
    await until(async () => (await text('asked')) !== '' && (await isWaiting()), 5_000);
    expect(Math.abs((await secondsLeft()) - seconds)).toBeLessThan(10);
    const said = await text('run.last');
    expect(said).toMatch(last);
    if (said !== '') expect((await stat(`${folder}/run.last`)).mode & 0o777).toBe(0o600);
    await stop();
    start(86_400);
    await until(isWaiting, 5_000);
    expect(await text('run.last')).toBe(said);
  });

  it('runs nothing that others than root can change', async () => {
    await chmod(`${folder}/project/部署.sh`, 0o777);
    await writeFile(`${folder}/run.next`, '1');
    start(86_400);
    await until(async () => (await text('run.last')).includes('can be changed by others than root'), 5_000);
    expect(await text('asked')).toBe('');
  });
});
