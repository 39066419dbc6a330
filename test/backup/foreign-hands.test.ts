import { execa } from 'execa';
import { chown, link, lstat, mkdir, readdir, rm, stat, symlink, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import type { AddressInfo } from 'node:net';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { databasesOf } from '../../src/backup/collect.ts';
import { giveFolder, readBelow } from '../../src/backup/foreign-hands.ts';
import { takeSnapshot } from '../../src/backup/redis-snapshot.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import { layoutOf } from '../../src/topology/topology.ts';
import { nobody, scratchFolder } from './archives.ts';

/** As Redis says a text. */
function text(said: string): string {
  return `$${Buffer.byteLength(said)}\r\n${said}\r\n`;
}

/** What the service user, or whoever has become it, may leave in its folders for root to fall over. */
describe.runIf(process.getuid?.() === 0)('root, in a folder of the service user', () => {
  let folder: string;
  const own = (): string => `${folder}/own`;
  const secret = (): string => `${folder}/secret/key`;
  beforeEach(async () => {
    folder = await scratchFolder();
    await mkdir(`${folder}/secret`);
    await writeFile(secret(), 'of root', { mode: 0o600 });
    await mkdir(`${own()}/pki`, { recursive: true });
    await writeFile(`${own()}/pki/root.crt`, 'certificate');
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('reads what is there, and nothing to which it is led', async () => {
    const read = async (path: string, longest = 100): Promise<string | undefined> => (await readBelow(own(), path, { longest }))?.toString();
    expect(await read('pki/root.crt')).toBe('certificate');
    expect(await read('pki/root.crt', 3)).toBeUndefined();
    expect(await read('pki/other.crt')).toBeUndefined();
    await symlink(secret(), `${own()}/pki/linked.crt`);
    await symlink(`${folder}/secret`, `${own()}/acme`);
    await execa('mkfifo', [`${own()}/pki/pipe`]);
    for (const path of ['pki/linked.crt', 'acme/key', 'pki/pipe', 'pki']) expect(await read(path), path).toBeUndefined();
  });

  it('gives away what is there, and nothing to which it is led', async () => {
    await symlink(secret(), `${own()}/pki/linked.crt`);
    await symlink(`${folder}/secret`, `${own()}/acme`);
    await link(secret(), `${own()}/second-name`);
    await execa('mkfifo', [`${own()}/pipe`]);
    await chown(own(), nobody.uid, nobody.gid);
    await giveFolder(own(), nobody);
    expect(await lstat(secret())).toMatchObject({ uid: 0, nlink: 1 });
    expect(await stat(`${folder}/secret`)).toMatchObject({ uid: 0 });
    expect((await readdir(own(), { recursive: true })).toSorted()).toEqual(['pki', 'pki/root.crt']);
    for (const path of ['', '/pki', '/pki/root.crt']) expect(await stat(`${own()}${path}`), path).toMatchObject(nobody);
    expect((await stat(`${own()}/pki`)).mode & 0o777).toBe(0o750);
  });

  it('takes and removes no snapshot that Redis says is elsewhere', async () => {
    const liar = createServer((socket) =>
      socket.on('data', (data) => {
        for (const [, word = ''] of data.toString().matchAll(/\*\d+\r\n\$\d+\r\n([a-z]+)/gi))
          if (word.toLowerCase() === 'info')
            socket.write(text('loading:0\r\nrdb_bgsave_in_progress:0\r\naof_rewrite_in_progress:0\r\nrdb_last_bgsave_status:err\r\n'));
          else if (word.toLowerCase() === 'config') socket.write(`*2\r\n${text('dbfilename')}${text('../secret/key')}`);
          else socket.write(word.toLowerCase() === 'bgsave' ? '+Background saving started\r\n' : '+OK\r\n');
      }),
    ).listen(0, '127.0.0.1');
    await new Promise((resolve) => liar.once('listening', resolve));
    const at = { host: '127.0.0.1', port: (liar.address() as AddressInfo).port, password: 'x' };
    const signal = AbortSignal.timeout(5_000);
    await expect(takeSnapshot({ at, folder: own(), signal, onProgress: () => undefined })).rejects.toMatchObject({ code: 'BACKUP_REDIS_UNSAVED' });
    liar.close();
    expect((await stat(secret())).size).toBe(7);
  });

  it('takes no database of SQLite that is not in use', async () => {
    const { settings } = parseSettings(`DATA_DIR=${folder}\n`, {});
    if (settings === null) throw new Error('no settings');
    const layout = layoutOf(settings);
    await mkdir(`${layout.state}/service`, { recursive: true });
    await writeFile(`${layout.state}/service/service.db`, 'of before');
    const names = async (DATABASE_URL: string): Promise<string[]> => [...(await databasesOf({ parts: ['service'], layout }, { DATABASE_URL })).keys()];
    expect(await names('')).toEqual(['service.db']);
    expect(await names('postgres://fleet@10.0.0.5/fleet')).toEqual([]);
  });
});
