import { createHash } from 'node:crypto';
import { execa } from 'execa';
import { mkdir, readdir, rm, symlink, writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { buffer } from 'node:stream/consumers';
import { zstdCompressSync, zstdDecompressSync } from 'node:zlib';
import fc from 'fast-check';
import { beforeAll, beforeEach, describe, expect, inject, it } from 'vitest';
import { encrypt } from '../../src/backup/encryption.ts';
import { FleetError } from '../../src/kernel/errors.ts';
import { archiveOf, databaseOf, headOf, proveBytes, rdbOf, scratchFolder } from './archives.ts';

const BLOCK = 512;
const runs = { numRuns: 250, seed: 7 };

/** An archive that somebody made by hand, or a program has broken: it is taken, or refused in words. */
describe.runIf(process.getuid?.() === 0)('an archive with', () => {
  let tar: Buffer;
  let sealed: Buffer;
  let entries: Array<[name: string, content: Buffer]>;

  beforeAll(async () => {
    const database = await databaseOf(20);
    const members = {
      env: Buffer.from('DOMAIN=localhost\n'),
      'config/role.json': Buffer.from('{}'),
      'caddy/pki/a.crt': Buffer.alloc(700, 'x'),
      'service.db': database.bytes,
    };
    const bytes = await archiveOf(headOf(), members, { redis: null, databases: { 'service.db': database.counts } });
    tar = zstdDecompressSync(bytes);
    entries = entriesOf(tar);
    const chunks = async function* (): AsyncGenerator<Buffer> {
      yield bytes;
    };
    sealed = await buffer(encrypt(chunks(), 'correct horse', 2));
    expect(entries.map(([name]) => name)).toEqual(['archive.json', ...Object.keys(members), 'manifest.json', 'manifest.sha256']);
    expect(await judged(tarOf(entries))).toBe('taken');
  });

  it('bytes of the tar changed, and compressed anew', async () => {
    const change = fc.array(fc.tuple(fc.nat({ max: tar.length - 1 }), fc.nat({ max: 255 })), { minLength: 1, maxLength: 6 });
    await fc.assert(
      fc.asyncProperty(change, fc.boolean(), async (changes, isMended) => {
        const bytes = Buffer.from(tar);
        for (const [at, byte] of changes) bytes[at] = byte;
        if (isMended) mendHeaders(bytes);
        await judged(zstdCompressSync(bytes));
      }),
      runs,
    );
  });

  it('headers of the tar changed, whose checksums are right', async () => {
    const headers = [...offsetsOf(tar)];
    const change = fc.array(fc.tuple(fc.constantFrom(...headers), fc.nat({ max: BLOCK - 1 }), fc.constantFrom(0, 32, 47, 48, 55, 76, 128, 255)), {
      minLength: 1,
      maxLength: 4,
    });
    await fc.assert(
      fc.asyncProperty(change, async (changes) => {
        const bytes = Buffer.from(tar);
        for (const [header, at, byte] of changes) bytes[header + at] = byte;
        for (const header of headers) writeSum(bytes, header);
        await judged(zstdCompressSync(bytes));
      }),
      runs,
    );
  });

  it('pieces of the tar left out, doubled or moved', async () => {
    const piece = fc.tuple(fc.nat({ max: tar.length / BLOCK }), fc.nat({ max: 6 }), fc.nat({ max: tar.length / BLOCK }));
    await fc.assert(
      fc.asyncProperty(piece, fc.constantFrom('left out', 'doubled', 'moved'), async ([from, length, to], how) => {
        const [start, end] = [from * BLOCK, (from + length) * BLOCK];
        const rest = how === 'doubled' ? tar : Buffer.concat([tar.subarray(0, start), tar.subarray(end)]);
        const bytes = how === 'left out' ? rest : Buffer.concat([rest.subarray(0, to * BLOCK), tar.subarray(start, end), rest.subarray(to * BLOCK)]);
        await judged(zstdCompressSync(bytes));
      }),
      runs,
    );
  });

  it('anything in head and manifest, under a seal that is right', async () => {
    const odd = fc.constantFrom<unknown>(
      null,
      -1,
      0.5,
      1e308,
      '',
      'x',
      '../../../tmp/x',
      '/',
      [],
      {},
      true,
      'a'.repeat(5_000),
      [null],
      { rows: null },
      '0'.repeat(64),
    );
    const step = fc.nat({ max: 40 });
    await fc.assert(
      fc.asyncProperty(fc.constantFrom('archive.json', 'manifest.json'), step, odd, fc.boolean(), async (file, where, value, isRemoved) => {
        const changed = entries.map(([name, content]): [string, Buffer] =>
          name === file ? [name, Buffer.from(JSON.stringify(changeAt(JSON.parse(content.toString()), where, isRemoved ? undefined : value)))] : [name, content],
        );
        await judged(tarOf(sealedAnew(changed)));
      }),
      runs,
    );
  });

  it('members of any names in any order, under a manifest that is right', async () => {
    const good = ['env', 'config', 'config/a', 'config/a/b', 'config/a/b/c', 'caddy/a', 'caddy/a/b', 'agent/a', 'service.db', 'relay.db', 'postgres.dump'];
    const bad = ['redis', 'redis/appendonly.aof', 'config/../env', 'config/./a', 'config//a', '/env', 'config/\u0000', 'config/ü', ''];
    const name = fc.constantFrom(...good, ...bad, `config/${'a'.repeat(200)}`, `config/${'a/'.repeat(40)}b`);
    await fc.assert(
      fc.asyncProperty(fc.array(name, { maxLength: 5 }), fc.boolean(), async (names, isCounted) => {
        const members = names.map((one): [string, Buffer] => [one, Buffer.from(`content of ${one}`)]);
        const counts = Object.fromEntries(names.filter(() => isCounted).map((one) => [one, { schema: 1, rows: {} }]));
        await judged(tarOf(withManifest([['archive.json', entries[0]?.[1] ?? Buffer.alloc(0)], ...members], counts)));
      }),
      runs,
    );
  });

  it('anything in the place of its encryption’s header', async () => {
    const end = sealed.indexOf('\n---') + 60;
    const change = fc.array(fc.tuple(fc.nat({ max: end }), fc.constantFrom(...'0123456789 \n->zA=é'.split(''))), { minLength: 1, maxLength: 4 });
    await fc.assert(
      fc.asyncProperty(change, async (changes) => {
        let text = sealed.subarray(0, end).toString('latin1');
        for (const [at, character] of changes) text = text.slice(0, at) + character + text.slice(at + 1);
        // It may ask for work of minutes: that is for another test.
        if (/scrypt \S+ (1[5-9]|2\d)\n/.test(text)) return;
        const code = await judged(Buffer.concat([Buffer.from(text, 'latin1'), sealed.subarray(end)]), 'correct horse');
        expect(code).toMatch(/^(taken|BACKUP_)/);
      }),
      runs,
    );
  });

  it('no bytes, few, or any', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.uint8Array({ maxLength: 3_000 }),
        fc.constantFrom('', '28b52ffd', Buffer.from('age-encryption.org/v1\n').toString('hex')),
        async (bytes, magic) => {
          expect(await judged(Buffer.concat([Buffer.from(magic, 'hex'), bytes]))).toMatch(/^BACKUP_/);
          await judged(zstdCompressSync(bytes));
        },
      ),
      runs,
    );
  });
});

describe.runIf(process.getuid?.() === 0)('a machine on which nothing is deployed', () => {
  let folder: string;
  beforeEach(async () => {
    folder = await scratchFolder();
    return () => rm(folder, { recursive: true });
  });

  /** The last line of what a restore says, as JSON; with no path for settings but one in the folder. */
  async function restore(words: readonly string[], cwd = folder): Promise<Record<string, unknown>> {
    const all = ['restore', ...words, '--json', '--env', `${folder}/env`];
    const { stdout, stderr } = await execa(resolve(import.meta.dirname, '../../部署.sh'), all, { cwd, env: { LANG: 'C' }, reject: false, stdin: 'ignore' });
    expect(stderr).not.toContain('    at ');
    return JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as Record<string, unknown>;
  }
  /** All that is there; of a folder, when something was made and removed there does not count. */
  const files = async (): Promise<string[]> => {
    const { stdout } = await execa('find', ['.', '(', '-type', 'd', '-printf', '%P %m %U\n', ')', '-o', '-printf', '%P %y %m %s %C@ %l\n'], { cwd: folder });
    return stdout.split('\n').toSorted();
  };

  it('refuses an archive whose keys are others than those of its settings, with nothing changed', async () => {
    await writeFile(`${folder}/env`, `${keysOf('of-this-machine-')}DATA_DIR=${folder}/data\n`, { mode: 0o600 });
    const head = headOf({ dataDir: `${folder}/data` });
    await writeFile(`${folder}/archive`, await archiveOf(head, { env: Buffer.from(keysOf('of-another-fleet')) }, { redis: null, databases: {} }));
    const before = await files();
    expect(await restore(['archive', '--dry-run'])).toMatchObject({ error: 'BACKUP_OTHER_KEYS', machine: head.machine, env: `${folder}/env` });
    expect(await files()).toEqual(before);
    expect(await restore(['archive', '--yes'])).toMatchObject({ error: 'BACKUP_OTHER_KEYS' });
    // Where it says that it was refused.
    expect((await files()).filter((line) => !line.startsWith('data'))).toEqual(before);
    expect((await execa('find', [`${folder}/data`, '-type', 'f'])).stdout).toBe(`${folder}/data/logs/journal.jsonl`);
    await rm(`${folder}/env`);
    expect(await restore(['archive', '--dry-run'])).toMatchObject({ isWhole: true });
  });

  it('follows a link to an archive, and says where one leads nowhere', async () => {
    await mkdir(`${folder}/kept`);
    const env = Buffer.from('DOMAIN=localhost\n');
    await writeFile(`${folder}/kept/archive`, await archiveOf(headOf({ dataDir: `${folder}/data` }), { env }, { redis: null, databases: {} }));
    await symlink('kept/archive', `${folder}/newest`);
    await symlink('newest', `${folder}/again`);
    await symlink('kept', `${folder}/folder`);
    await symlink('nowhere', `${folder}/dangling`);
    await symlink('loop', `${folder}/loop`);
    const before = await files();
    for (const source of ['newest', 'again', 'folder/archive', `${folder}/again`])
      expect(await restore([source, '--dry-run']), source).toMatchObject({ isWhole: true });
    for (const [source, reason] of [
      ['folder', 'EISDIR'],
      ['dangling', 'ENOENT'],
      ['loop', 'ELOOP'],
    ] as const)
      expect(await restore([source, '--dry-run']), source).toMatchObject({ error: 'BACKUP_NOT_FOUND', reason });
    expect(await files()).toEqual(before);
  });

  it('finds an archive by its bare name where backups are kept, but first where it stands', async () => {
    const name = 'livekit-fleet-m1-20260101T000000Z.tar.zst';
    const of = (machine: string): Promise<Buffer> =>
      archiveOf(headOf({ dataDir: `${folder}/data`, machine }), { env: Buffer.from('TLS_CERT_FILE=/nowhere/cert.pem\n') }, { redis: null, databases: {} });
    await mkdir(`${folder}/kept`);
    await mkdir(`${folder}/here`);
    await writeFile(`${folder}/env`, `BACKUP_DIR=${folder}/kept\nDATA_DIR=${folder}/data\n`, { mode: 0o600 });
    await writeFile(`${folder}/kept/${name}`, await of('kept'));
    // What has to be brought to this machine as well is said.
    expect(await restore([name, '--dry-run'], `${folder}/here`)).toMatchObject({
      path: `${folder}/kept/${name}`,
      machine: 'kept',
      missing: ['TLS_CERT_FILE=/nowhere/cert.pem'],
    });
    await writeFile(`${folder}/here/${name}`, await of('here'));
    expect(await restore([name, '--dry-run'], `${folder}/here`)).toMatchObject({ path: `${folder}/here/${name}`, machine: 'here' });
    expect(await restore([name.replace('m1', 'm2'), '--dry-run'], `${folder}/here`)).toMatchObject({ error: 'BACKUP_NOT_FOUND' });
  });

  it('looks at a file before it asks whether it is really to be restored', async () => {
    await writeFile(`${folder}/env`, `DATA_DIR=${folder}/data\n`, { mode: 0o600 });
    await writeFile(`${folder}/nonsense`, 'this is a text, and nothing else');
    for (const words of [['nonsense'], ['nonsense', '--dry-run'], ['nonsense', '--yes']])
      expect(await restore(words)).toMatchObject({ error: 'BACKUP_FOREIGN_FILE' });
    await writeFile(`${folder}/archive`, await archiveOf(headOf(), {}, { redis: null, databases: {} }));
    expect(await restore(['archive'])).toMatchObject({ error: 'NOT_SURE_RESTORE' });
  });

  it.each([
    ['is not there', async () => undefined],
    ['is there', () => mkdir(`${folder}/srv/data`, { recursive: true, mode: 0o700 })],
    ['has some of what a deploy makes', () => mkdir(`${folder}/srv/data/state/agent`, { recursive: true, mode: 0o700 })],
  ])('is as it was after a dry run where its data folder %s', async (_, prepare) => {
    await prepare();
    const head = headOf({ dataDir: `${folder}/srv/data` });
    const members = { env: Buffer.from(`COMPONENT_DIR=${inject('componentStore')}\n`), 'redis.rdb': await rdbOf(3) };
    await writeFile(`${folder}/archive`, await archiveOf(head, members, { redis: { keys: 3, expires: 1 }, databases: {} }));
    const before = await files();
    expect(await restore(['archive', '--dry-run'])).toMatchObject({ isWhole: true });
    expect(await files()).toEqual(before);
    await writeFile(`${folder}/archive`, await archiveOf({ ...head, format: 99 }, members, { redis: null, databases: {} }));
    const changed = await files();
    for (const words of [['archive', '--dry-run'], ['archive']]) expect(await restore(words)).toMatchObject({ error: 'BACKUP_NEWER' });
    expect(await files()).toEqual(changed);
  });

  it('says what is wrong with an archive whose data folder or settings are odd, and is left as it was', async () => {
    const none = { redis: null, databases: {} };
    const dataDirs = ['/', '//', '/etc', '/proc/1/root', '/a\nb', '/a b', `/${'x'.repeat(5_000)}`, `${folder}/../..`, `${folder}/archive/below`, '/\u0000'];
    const envs = [null, '', '=', '\0\u00ff=', 'REDIS_PORT=x\n', 'NODES=1.2.3.4\n', `DATA_DIR=${'x'.repeat(100_000)}\n`, 'A="\n'];
    for (const [dataDir, env] of [...dataDirs.map((one) => [one, 'DOMAIN=localhost\n'] as const), ...envs.map((one) => [`${folder}/data`, one] as const)]) {
      await writeFile(`${folder}/archive`, await archiveOf(headOf({ dataDir }), env === null ? {} : { env: Buffer.from(env) }, none));
      const words = ['restore', `${folder}/archive`, '--dry-run', '--json', '--env', `${folder}/none`];
      const { stdout, stderr } = await execa(`${import.meta.dirname}/../../部署.sh`, words, { env: { LANG: 'C' }, reject: false });
      const what = JSON.stringify([dataDir, env]).slice(0, 200);
      expect(stderr, what).not.toContain('    at ');
      const said = JSON.parse(stdout.trim().split('\n').at(-1) ?? '') as { error?: string; isWhole?: boolean };
      expect(said.error !== undefined || said.isWhole === true, what).toBe(true);
      expect(said.error, what).not.toBe('UNEXPECTED');
      expect(await readdir(folder), what).toEqual(['archive']);
    }
  });
});

function keysOf(secret: string): string {
  return `LIVEKIT_API_KEY=APIkey\nLIVEKIT_API_SECRET=${secret.repeat(3)}\n`;
}

/** A code of ours, or that it was taken; anything else is a defect. */
async function judged(bytes: Buffer, passphrase = ''): Promise<string> {
  return proveBytes(bytes, passphrase).then(
    () => 'taken',
    (error: unknown) => {
      if (!(error instanceof FleetError)) throw error;
      return error.code;
    },
  );
}

function* offsetsOf(tar: Buffer): Generator<number> {
  for (let at = 0; at + BLOCK <= tar.length && tar[at] !== 0;) {
    yield at;
    at += BLOCK + Math.ceil(Number.parseInt(tar.subarray(at + 124, at + 135).toString(), 8) / BLOCK) * BLOCK;
  }
}

function entriesOf(tar: Buffer): Array<[string, Buffer]> {
  return [...offsetsOf(tar)].map((at) => {
    const size = Number.parseInt(tar.subarray(at + 124, at + 135).toString(), 8);
    return [tar.subarray(at, tar.indexOf(0, at)).toString(), tar.subarray(at + BLOCK, at + BLOCK + size)];
  });
}

function tarOf(entries: ReadonlyArray<readonly [string, Buffer]>): Buffer {
  const parts = entries.flatMap(([name, content]) => {
    const header = Buffer.alloc(BLOCK);
    header.write(name.slice(0, 99));
    header.write(`0000600\0${'0'.repeat(7)}\0${'0'.repeat(7)}\0`, 100);
    header.write(`${content.length.toString(8).padStart(11, '0')}\0`, 124);
    header.write('00000000000\0', 136);
    header.write('0', 156);
    writeSum(header, 0);
    return [...longName(name), header, content, Buffer.alloc(Math.ceil(content.length / BLOCK) * BLOCK - content.length)];
  });
  return zstdCompressSync(Buffer.concat([...parts, Buffer.alloc(2 * BLOCK)]));
}

/** GNU's way to say a name of more than 99 bytes. */
function longName(name: string): Buffer[] {
  if (name.length < 100) return [];
  const header = Buffer.alloc(BLOCK);
  header.write('././@LongLink');
  header.write(`${(name.length + 1).toString(8).padStart(11, '0')}\0`, 124);
  header.write('L', 156);
  writeSum(header, 0);
  const content = Buffer.alloc(Math.ceil((name.length + 1) / BLOCK) * BLOCK);
  content.write(name);
  return [header, content];
}

function writeSum(bytes: Buffer, at: number): void {
  bytes.fill(32, at + 148, at + 156);
  const sum = bytes.subarray(at, at + BLOCK).reduce((total, byte) => total + byte, 0);
  bytes.write(`${sum.toString(8).padStart(6, '0')}\0 `, at + 148);
}

function mendHeaders(tar: Buffer): void {
  for (const at of offsetsOf(tar)) writeSum(tar, at);
}

/** Replaces, or with `undefined` removes, the n-th of all values within a value. */
function changeAt(value: unknown, n: number, by: unknown): unknown {
  let left = n;
  const visit = (one: unknown): unknown => {
    if (left-- === 0) return by;
    if (Array.isArray(one)) return one.map(visit);
    if (typeof one === 'object' && one !== null) return Object.fromEntries(Object.entries(one).map(([name, within]) => [name, visit(within)]));
    return one;
  };
  return visit(value) ?? null;
}

function sha256(content: Buffer): string {
  return createHash('sha256').update(content).digest('hex');
}

/** With a manifest that tells the truth of the first entry's text, and a seal for it. */
function sealedAnew(entries: ReadonlyArray<[string, Buffer]>): Array<[string, Buffer]> {
  const head = entries[0]?.[1] ?? Buffer.alloc(0);
  const manifest = Buffer.from(
    (entries.find(([name]) => name === 'manifest.json')?.[1] ?? Buffer.alloc(0))
      .toString()
      .replace(/("name": ?"archive\.json",\s*"bytes": ?)\d+(,\s*"sha256": ?")[0-9a-f]+/, `$1${head.length}$2${sha256(head)}`),
  );
  return entries.map(([name, content]) =>
    name === 'manifest.json' ? [name, manifest] : name === 'manifest.sha256' ? [name, Buffer.from(`${sha256(manifest)}\n`)] : [name, content],
  );
}

function withManifest(entries: ReadonlyArray<[string, Buffer]>, databases: unknown): Array<[string, Buffer]> {
  const { id } = JSON.parse(entries[0]?.[1].toString() ?? '{}') as { id: string };
  const members = entries.map(([name, content]) => ({ name, bytes: content.length, sha256: sha256(content) }));
  const manifest = Buffer.from(JSON.stringify({ id, members, counts: { redis: null, databases } }));
  return [...entries, ['manifest.json', manifest], ['manifest.sha256', Buffer.from(sha256(manifest))]];
}
