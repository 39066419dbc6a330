import { spawnSync } from 'node:child_process';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, it } from 'vitest';
import { openLogSync } from '../../src/service/store/log-sync.ts';
import { openStore } from '../../src/service/store/store.ts';
import { needPrograms } from '../debian-packages.ts';
import { temporaryDirectory } from './fixtures.ts';

it('calls back in the order of the calls, and those that come while the disk is busy together', async () => {
  const path = join(await temporaryDirectory(), 'log');
  writeFileSync(path, 'x');
  const log = openLogSync(path);
  const seen: string[] = [];
  await new Promise<void>((done) => {
    log.sync(() => {
      seen.push('first');
      log.sync(done);
    });
    log.sync(() => seen.push('second'));
    log.sync(() => seen.push('third'));
    expect(seen).toEqual([]);
  });
  expect(seen).toEqual(['first', 'second', 'third']);
  log.sync(() => seen.push('at the end'));
  log.close();
  expect(seen.at(-1)).toBe('at the end');
});

it('syncs the log after what is written to it, before a change counts as done', async () => {
  await needPrograms({ strace: 'strace' });
  const folder = await temporaryDirectory();
  const program = `
    import { writeSync } from 'node:fs';
    import { openStore } from '${import.meta.dirname}/../../src/service/store/store.ts';
    const store = await openStore('${join(folder, 'service.db')}');
    await store.addRoom({ id: 'r1', name: '', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: 1 });
    writeSync(1, 'done');
    await store.close();`;
  const { stderr } = spawnSync('strace', ['-f', '-y', '-e', 'trace=pwrite64,fdatasync,write', process.execPath, '--input-type=module', '-e', program], {
    encoding: 'utf8',
  });
  const lines = stderr.split('\n');
  const before = lines.slice(
    0,
    lines.findIndex((line) => line.includes('write(1') && line.includes('"done"')),
  );
  const lastWrite = before.findLastIndex((line) => line.includes('pwrite64') && line.includes('service.db-wal'));
  expect(lastWrite).toBeGreaterThan(0);
  expect(before.slice(lastWrite).some((line) => line.includes('fdatasync') && line.includes('service.db-wal'))).toBe(true);
});

it('keeps what was asked for until the moment of its end', async () => {
  const path = join(await temporaryDirectory(), 'service.db');
  const store = await openStore(path);
  const added = store.addRoom({ id: 'r1', name: '', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata: '', createdAtMs: 1 });
  await store.close();
  expect(await added).toMatchObject({ id: 'r1' });
  const again = await openStore(path);
  expect(await again.findRoom('r1')).toMatchObject({ id: 'r1' });
  await again.close();
});
