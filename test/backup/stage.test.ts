import { chmod, mkdir, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it, onTestFinished } from 'vitest';
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
    return stage({
      topology,
      folder: `${root}/new`,
      members,
      envPath: `${root}/.env`,
      env: null,
      hasRedis: false,
      isAlone: false,
      isBare: false,
      user: nobody,
    });
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

describe.runIf(process.getuid?.() === 0)('Redis and Sentinel in a restore', () => {
  it.each([false, true])(
    'go on as they are known to others, unless they are what is left of a fleet (%s): then they follow and know nobody',
    async (isAlone) => {
      const root = await scratchFolder();
      onTestFinished(() => rm(root, { recursive: true }));
      const { settings } = parseSettings(`DATA_DIR=${root}\n`, {});
      if (settings === null) throw new Error('no settings');
      const topology = planTopology(settings, 'all', { addresses: [], hasSystemd: false, hasNft: false });
      await write(`${root}/state/redis/redis.conf`, 'port 1\nreplicaof 10.0.0.3 6379\nreplica-announce-ip 10.0.0.2\n');
      await write(`${root}/state/sentinel/sentinel.conf`, 'sentinel monitor livekit 10.0.0.3 6379 2\n');
      await write(`${root}/new/redis/appendonly.aof`, '');
      await chmod(`${root}/new`, 0o711);
      const options = { topology, folder: `${root}/new`, members: [], envPath: `${root}/.env`, env: null, hasRedis: true, isBare: false, user: nobody };
      const { items, parts, settle } = await stage({ ...options, isAlone });
      await settle();
      expect(await text(`${root}/new/redis/redis.conf`)).toBe(`port 1\n${isAlone ? '' : 'replicaof 10.0.0.3 6379\n'}replica-announce-ip 10.0.0.2\n`);
      expect(parts).toEqual(isAlone ? ['redis', 'sentinel'] : ['redis']);
      expect(items.map((one) => [one.live.slice(root.length), one.hadLive])).toEqual([['/state/redis', true], ...(isAlone ? [['/state/sentinel', true]] : [])]);
      if (isAlone) expect((await stat(`${root}/new/sentinel`)).uid).toBe(nobody.uid);
    },
  );
});
