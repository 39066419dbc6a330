import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { chmod, chown, rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterAll, beforeAll, describe, expect, it } from 'vitest';
import { until } from '../e2e/installation.ts';
import { archiveOf, headOf, scratchFolder } from './archives.ts';

const command = `${import.meta.dirname}/../../部署.sh`;
const passphrase = 'correct horse battery';

/** Who may open an encrypted archive, on a machine that has nothing but the archive. */
describe.runIf(process.getuid?.() === 0)('the passphrase', () => {
  let folder: string;
  let archive: string;

  beforeAll(async () => {
    folder = await scratchFolder();
    archive = `${folder}/archive.age`;
    const head = headOf({ dataDir: `${folder}/data` });
    await writeFile(archive, await archiveOf(head, { env: Buffer.from('DOMAIN=localhost\n') }, { redis: null, databases: {} }, passphrase));
  });
  afterAll(() => rm(folder, { recursive: true }));

  /** What a person at a terminal sees who types this once the question is there. */
  async function atTerminal(typed: string, variables: Record<string, string> = {}): Promise<{ shown: string; code: string }> {
    const script = `trap : INT; '${command}' restore '${archive}' --dry-run --env '${folder}/none'; echo "code $?"; stty -a`;
    const child = spawn('script', ['-qec', script, '/dev/null'], {
      env: { LANG: 'C', PATH: process.env['PATH'], SHELL: '/bin/sh', ...variables },
      stdio: ['pipe', 'pipe', 'inherit'],
    });
    const closed = once(child, 'close');
    let shown = '';
    child.stdout.on('data', (text: Buffer) => (shown += text.toString()));
    await until(async () => shown.includes('Passphrase of '), 20_000);
    child.stdin.write(typed);
    await closed;
    // The terminal is as it was.
    expect(shown).toMatch(/[ ;]echo /);
    return { shown, code: /code (\d+)/.exec(shown)?.[1] ?? '' };
  }

  it('is asked for at a terminal, once, and not shown', async () => {
    const { shown, code } = await atTerminal(`${passphrase}\n`);
    expect(code).toBe('0');
    expect(shown).toContain('is whole');
    expect(shown.split('Passphrase of ')).toHaveLength(2);
    expect(shown).not.toContain(passphrase);
  });

  it('is asked for where the file that the settings name is not on this machine', async () => {
    const { shown, code } = await atTerminal(`${passphrase}\n`, { BACKUP_PASSPHRASE_FILE: `${folder}/lost` });
    expect(code).toBe('0');
    expect(shown).toContain(`BACKUP_PASSPHRASE_FILE=${folder}/lost is not on this machine`);
    expect(shown.split('Passphrase of ')).toHaveLength(2);
  });

  it('that is wrong, missing or not given leaves everything as it is', async () => {
    const wrong = await atTerminal('wrong horse\n');
    expect(wrong.code).toBe('2');
    expect(wrong.shown).toContain('The passphrase that was typed does not open');
    expect(wrong.shown).not.toContain('BACKUP_PASSPHRASE');
    expect(wrong.shown).not.toContain('wrong horse');
    expect(await atTerminal('\n')).toMatchObject({ code: '2' });
    expect(await atTerminal('\u0003')).toMatchObject({ code: '130' });
    const nobody = await execa(command, ['restore', archive, '--dry-run', '--json', '--env', `${folder}/none`], { reject: false, stdin: 'ignore' });
    expect(JSON.parse(nobody.stdout)).toMatchObject({ error: 'BACKUP_PASSPHRASE_MISSING' });
  });

  it('is taken from a file that only root reads', async () => {
    const file = `${folder}/passphrase`;
    const restore = async (): Promise<Record<string, unknown>> => {
      const words = ['restore', archive, '--dry-run', '--json', '--env', `${folder}/none`];
      const { stdout } = await execa(command, words, { env: { BACKUP_PASSPHRASE_FILE: file }, reject: false, stdin: 'ignore' });
      return JSON.parse(stdout) as Record<string, unknown>;
    };
    const unreadable = { error: 'BACKUP_PASSPHRASE_UNREADABLE' };
    expect(await restore()).toMatchObject({ ...unreadable, reason: 'ENOENT' });
    await writeFile(file, `${passphrase}\nanother line\n`, { mode: 0o600 });
    expect(await restore()).toMatchObject({ isWhole: true });
    for (const mode of [0o644, 0o640, 0o602]) {
      await chmod(file, mode);
      expect(await restore()).toMatchObject({ ...unreadable, reason: expect.stringContaining('chmod 600') as unknown });
    }
    await chmod(file, 0o400);
    expect(await restore()).toMatchObject({ isWhole: true });
    await chown(file, 65_534, 65_534);
    expect(await restore()).toMatchObject(unreadable);
    await chown(file, 0, 0);
    await chmod(file, 0o600);
    await writeFile(file, '\nbelow\n');
    expect(await restore()).toMatchObject({ ...unreadable, reason: 'its first line is empty' });
  });
});
