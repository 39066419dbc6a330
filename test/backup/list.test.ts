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
      `2026-01-04T00:00:00Z  m2  1.5 MB  ${folder}/kept/${name('m2', 4)}`,
      `2026-01-03T00:00:00Z  m1  1.5 MB  ${folder}/kept/${name('m1', 3, '.age')}`,
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
    expect(planned).toMatchObject({
      code: 0,
      out: [
        `Would remove 1 from ${folder}/kept, 1.5 MB, so that the newest 2 of each machine stay:`,
        `  -  2026-01-01T00:00:00Z  m1  1.5 MB  ${name('m1', 1)}`,
      ].join('\n'),
    });
    expect(JSON.parse((await run('prune', '--keep', '1', '--dry-run', '--json')).out)).toEqual({
      place: `${folder}/kept`,
      removed: [name('m1', 2), name('m2', 2), name('m1', 1)],
      bytes: 4_500_000,
      isDryRun: true,
    });
    expect(await kept()).toEqual(all.toSorted());
    expect(JSON.parse((await run('prune', '--json')).out)).toMatchObject({ removed: [name('m1', 1)], isDryRun: false });
    expect(await kept()).toEqual(all.filter((one) => one !== name('m1', 1)).toSorted());
    expect((await run('prune')).out).toContain('Nothing to remove');
    const pruned = (await run('prune', '--keep', '1')).out.split('\n');
    expect(pruned[0]).toBe(`Removed 2 from ${folder}/kept, 3.0 MB:`);
    expect(pruned.slice(1).map((line) => line.split('  ').at(-1))).toEqual([name('m1', 2), name('m2', 2)]);
    expect(await kept()).toEqual([name('m1', 3, '.age'), name('m2', 4)].toSorted());
    for (const one of others) expect(await readdir(`${folder}/kept`)).toContain(one);
  });

  it('stay where something is wrong with what was asked', async () => {
    for (const words of [['prune', '--keep', '0'], ['prune', '--keep', 'x'], ['prune', '--keep', '-1'], ['remove'], ['list', 'more']])
      expect((await run(...words)).code, words.join(' ')).toBe(2);
    await writeFile(`${folder}/file`, '');
    expect(JSON.parse((await run('list', '--to', `${folder}/file`, '--json')).out)).toMatchObject({ error: 'BACKUP_PLACE_UNREADABLE', reason: 'ENOTDIR' });
    expect(JSON.parse((await run('prune', '--to', 's3://', '--json')).out)).toMatchObject({ error: 'BACKUP_ADDRESS_WRONG' });
    expect(JSON.parse((await run('list', '--to', 's3://bucket/of', '--json')).out)).toMatchObject({ error: 'BACKUP_KEYS_MISSING', place: 's3://bucket/of' });
    expect(await kept()).toEqual(all.toSorted());
  });

  it.each([
    ['--keep 1', '--keep', '--prune'],
    ['list --keep 1', '--keep', 'backup prune'],
    ['list --verify', '--verify', 'backup'],
    ['list --dry-run', '--dry-run', 'backup'],
    ['prune --verify', '--verify', 'backup'],
    ['x.tar.zst --verify --to /tmp', '--to', 'backup'],
    ['x.tar.zst --verify --prune', '--prune', 'backup'],
  ])('are not touched by backup %s, where an option would do nothing', async (words, option, other) => {
    const { code, out } = await run(...words.split(' '), '--json');
    expect([code, JSON.parse(out)]).toEqual([2, { error: 'OPTION_NEEDS', option, other }]);
    expect(await kept()).toEqual(all.toSorted());
  });

  it('are looked for nowhere where the place has no name', async () => {
    for (const words of [['list'], ['prune'], ['prune', '--dry-run']]) {
      const { code, out } = await run(...words, '--to', '', '--json');
      expect([code, JSON.parse(out)]).toMatchObject([2, { error: 'BAD_OPTION_VALUE', option: '--to <place>' }]);
    }
    expect(await kept()).toEqual(all.toSorted());
  });

  it('are shown as small as they are', async () => {
    await writeFile(`${folder}/kept/${name('m1', 1)}`, 'x'.repeat(999));
    await writeFile(`${folder}/kept/${name('m1', 2)}`, 'x'.repeat(27_340));
    const { out } = await run('list');
    expect(out).toMatch(/ m1 +999 B /);
    expect(out).toMatch(/ m1 +27\.3 kB /);
  });
});
