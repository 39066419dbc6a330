import { mkdir, readdir, rm, writeFile } from 'node:fs/promises';
import { execa } from 'execa';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { scratchFolder } from './archives.ts';

const command = `${import.meta.dirname}/../../部署.sh`;
const name = (machine: string, day: number, ending = ''): string => `livekit-fleet-${machine}-2026010${day}T000000Z.tar.zst${ending}`;
/** Not archives, though they look like some. */
const others = ['notes.txt', `.${name('m1', 9)}.part-1`, `${name('m1', 9)}.bak`];

/** `backup list` and `backup prune`, which look at names alone. */
describe.runIf(process.getuid?.() === 0)('the backups of two machines in one folder', () => {
  let folder: string;
  const all = [name('m1', 1), name('m1', 2), name('m1', 3, '.age'), name('m2', 2), name('m2', 4)];

  beforeEach(async () => {
    folder = await scratchFolder();
    await mkdir(`${folder}/kept`);
    for (const one of [...all, ...others]) await writeFile(`${folder}/kept/${one}`, 'x'.repeat(1_500_000));
    await mkdir(`${folder}/kept/${name('m1', 8)}`);
    await writeFile(`${folder}/.env`, `BACKUP_DIR=${folder}/kept\nBACKUP_KEEP=2\n`, { mode: 0o600 });
  });
  afterEach(() => rm(folder, { recursive: true }));

  const run = async (...words: string[]): Promise<{ code: number; out: string; err: string }> => {
    const { exitCode, stdout, stderr } = await execa(command, ['backup', ...words, '--env', `${folder}/.env`], { env: { LANG: 'C' }, reject: false });
    return { code: exitCode ?? -1, out: stdout, err: stderr };
  };
  const kept = async (): Promise<string[]> => (await readdir(`${folder}/kept`)).filter((one) => all.includes(one)).toSorted();

  it('are listed, the newest first', async () => {
    const { code, out } = await run('list');
    expect(code).toBe(0);
    expect(out.split('\n')).toEqual([
      `2026-01-04T00:00:00Z  m2                       1.5 MB  ${folder}/kept/${name('m2', 4)}`,
      `2026-01-03T00:00:00Z  m1                       1.5 MB  ${folder}/kept/${name('m1', 3, '.age')}`,
      expect.stringContaining(name('m1', 2)),
      expect.stringContaining(name('m2', 2)),
      expect.stringContaining(name('m1', 1)),
    ]);
    const said = JSON.parse((await run('list', '--json')).out) as { place: string; backups: Array<Record<string, unknown>> };
    expect(said.place).toBe(`${folder}/kept`);
    expect(said.backups).toHaveLength(5);
    expect(said.backups[1]).toEqual({
      name: name('m1', 3, '.age'),
      machine: 'm1',
      madeAt: '2026-01-03T00:00:00Z',
      isEncrypted: true,
      bytes: 1_500_000,
      path: `${folder}/kept/${name('m1', 3, '.age')}`,
    });
    expect(await run('list', '--to', `${folder}/nothing`)).toMatchObject({ code: 0, out: `No backups in ${folder}/nothing.` });
  });

  it('are removed beyond the number that is kept of each machine, and only said with --dry-run', async () => {
    const planned = await run('prune', '--dry-run');
    expect(planned).toMatchObject({ code: 0, out: `  - ${folder}/kept/${name('m1', 1)}` });
    expect(JSON.parse((await run('prune', '--keep', '1', '--dry-run', '--json')).out)).toEqual({
      place: `${folder}/kept`,
      removed: [name('m1', 2), name('m2', 2), name('m1', 1)],
      isDryRun: true,
    });
    expect(await kept()).toEqual(all.toSorted());
    expect(JSON.parse((await run('prune', '--json')).out)).toMatchObject({ removed: [name('m1', 1)], isDryRun: false });
    expect(await kept()).toEqual(all.filter((one) => one !== name('m1', 1)).toSorted());
    expect((await run('prune')).out).toContain('Nothing to remove');
    expect((await run('prune', '--keep', '1')).out).toBe(`Removed: ${name('m1', 2)}, ${name('m2', 2)}`);
    expect(await kept()).toEqual([name('m1', 3, '.age'), name('m2', 4)].toSorted());
    for (const one of others) expect(await readdir(`${folder}/kept`)).toContain(one);
  });

  it('stay where something is wrong with what was asked', async () => {
    for (const words of [['prune', '--keep', '0'], ['prune', '--keep', 'x'], ['prune', '--keep', '-1'], ['remove'], ['list', 'more']])
      expect((await run(...words)).code, words.join(' ')).toBe(2);
    await writeFile(`${folder}/file`, '');
    expect(JSON.parse((await run('list', '--to', `${folder}/file`, '--json')).out)).toMatchObject({ error: 'BACKUP_PLACE_UNUSABLE', reason: 'ENOTDIR' });
    expect(JSON.parse((await run('prune', '--to', 's3://', '--json')).out)).toMatchObject({ error: 'BACKUP_PLACE_UNUSABLE' });
    expect(await kept()).toEqual(all.toSorted());
  });
});
