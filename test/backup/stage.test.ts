import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { stage } from '../../src/backup/stage.ts';
import type { Staged } from '../../src/backup/stage.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { planTopology } from '../../src/topology/topology.ts';
import { nobody, scratchFolder } from './archives.ts';

async function write(path: string, text: string): Promise<void> {
  await mkdir(path.slice(0, path.lastIndexOf('/')), { recursive: true });
  await writeFile(path, text, { mode: 0o600 });
}

const text = (path: string): Promise<string> => readFile(path, 'utf8').catch(() => 'none');

/** What stands where a machine's Caddy has its own, and what comes from an archive. */
describe.runIf(process.getuid?.() === 0)('Caddy’s folder in a restore', () => {
  let root: string;
  const live = (): string => `${root}/state/caddy`;
  const staged = (): string => `${root}/new/caddy`;

  async function begin(names: readonly string[]): Promise<Staged> {
    const { settings } = parseSettings(`DATA_DIR=${root}\n`, {});
    if (settings === null) throw new Error('no settings');
    const topology = planTopology(settings, 'all', { addresses: [], hasSystemd: false, hasNft: false });
    const members = names.map((name) => ({ name, bytes: 1, sha256: '' }));
    return stage({ topology, folder: `${root}/new`, members, envPath: `${root}/.env`, env: null, hasRedis: false, isBare: false, user: nobody });
  }

  beforeEach(async () => {
    root = await scratchFolder();
  });
  afterEach(() => rm(root, { recursive: true }));

  it('has what it had, what came while it was put together, and the archive’s authority', async () => {
    await write(`${live()}/pki/authorities/local/root.crt`, 'of today');
    await write(`${live()}/certificates/a/a.crt`, 'of today');
    await write(`${live()}/certificates/b/b.crt`, 'old');
    await write(`${staged()}/pki/authorities/local/root.crt`, 'of then!');
    await write(`${staged()}/certificates/a/a.crt`, 'of then');
    await write(`${staged()}/certificates/c/c.crt`, 'of then');
    const { parts, settle } = await begin(['caddy/pki/authorities/local/root.crt', 'caddy/certificates/a/a.crt', 'caddy/certificates/c/c.crt']);
    expect(parts).toEqual(['caddy']);
    // Caddy runs until the parts are stopped.
    await write(`${live()}/certificates/b/b.crt`, 'renewed');
    await write(`${live()}/certificates/new/new.crt`, 'new');
    await write(`${live()}/pki/authorities/local/root.crt`, 'of today, anew');
    await settle();
    expect(await text(`${staged()}/pki/authorities/local/root.crt`)).toBe('of then!');
    expect(await Promise.all(['a/a', 'b/b', 'c/c', 'new/new'].map((one) => text(`${staged()}/certificates/${one}.crt`)))).toEqual([
      'of today',
      'renewed',
      'of then',
      'new',
    ]);
    const info = await stat(`${staged()}/certificates/new/new.crt`);
    expect([info.uid, info.mode & 0o777]).toEqual([nobody.uid, 0o600]);
  });

  it('stays where it is, with its Caddy, where the archive has nothing that it does not have', async () => {
    await write(`${live()}/pki/authorities/local/root.crt`, 'the same');
    await write(`${staged()}/pki/authorities/local/root.crt`, 'the same');
    await chmod(live(), 0o750);
    const { items, parts, settle } = await begin(['caddy/pki/authorities/local/root.crt']);
    await settle();
    expect([items, parts]).toEqual([[], []]);
  });
});
