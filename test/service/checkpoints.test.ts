import { spawn } from 'node:child_process';
import { statSync } from 'node:fs';
import { DatabaseSync } from 'node:sqlite';
import { join } from 'node:path';
import { text } from 'node:stream/consumers';
import { expect, it } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import type { Store } from '../../src/service/store/store.ts';
import { needPrograms } from '../debian-packages.ts';
import { temporaryDirectory } from './fixtures.ts';

const MIB = 1024 * 1024;
const PAGE_BYTES = 4096;

/** Some 1.3 pages a room, 20 rooms a commit. */
async function addRooms(store: Store, count: number, prefix = 'r'): Promise<void> {
  const metadata = 'm'.repeat(3_000);
  for (let from = 0; from < count; from += 20) {
    const some = Array.from({ length: 20 }, (_, index) => `${prefix}${from + index}`);
    const fixed = { name: '', type: 'video', maxParticipants: 0, emptyTimeout: null, metadata, createdAtMs: 1 } as const;
    await Promise.all(some.map((id) => store.addRoom({ ...fixed, id })));
  }
}

function logBytes(path: string): number {
  return statSync(`${path}-wal`).size;
}

it('begins the log anew now and then, however much is written', async () => {
  const path = join(await temporaryDirectory(), 'service.db');
  const store = await openStore(path);
  await addRooms(store, 12_000);
  expect(statSync(path).size).toBeGreaterThan(30 * MIB);
  expect(logBytes(path)).toBeGreaterThan(15 * MIB);
  expect(logBytes(path)).toBeLessThan(25 * MIB);
  await store.close();
});

it('waits for a reader that still needs what is in the file, and goes on after it', async () => {
  const path = join(await temporaryDirectory(), 'service.db');
  const store = await openStore(path);
  await addRooms(store, 20);
  const reader = new DatabaseSync(path, { readOnly: true });
  reader.exec('BEGIN');
  const count = reader.prepare('SELECT count(*) AS count FROM rooms');
  expect(count.get()).toEqual({ count: 20 });
  await addRooms(store, 8_000, 'a');
  expect(count.get()).toEqual({ count: 20 });
  const held = logBytes(path);
  expect(held).toBeGreaterThan(30 * MIB);
  reader.exec('COMMIT');
  await addRooms(store, 8_000, 'b');
  // Once all is copied, the log is written from its beginning again, and grows no more.
  expect(logBytes(path)).toBeLessThan(held + 5 * MIB);
  expect(count.get()).toEqual({ count: 16_020 });
  reader.close();
  await store.close();
});

it('copies only what is on the disk in the log, and begins the log anew only once the copy is on the disk', async () => {
  await needPrograms({ strace: 'strace' });
  const path = join(await temporaryDirectory(), 'service.db');
  const program = `
    import { openStore } from '${import.meta.dirname}/../../src/service/store/store.ts';
    ${addRooms.toString()}
    const store = await openStore('${path}');
    await addRooms(store, 9_000);
    process.kill(process.pid, 'SIGKILL');`;
  // A disk that is slow enough for what does not wait for it to be seen.
  const words = [
    '-f',
    '-y',
    '-x',
    '-s',
    '4',
    '-e',
    'trace=pwrite64,fdatasync,fsync',
    '-e',
    'inject=fdatasync:delay_enter=10000',
    process.execPath,
    '--input-type=module-typescript',
    '-e',
    program,
  ];
  const child = spawn('strace', words, { stdio: ['ignore', 'ignore', 'pipe'] });
  const seen = judge((await text(child.stderr)).split('\n'), path);
  expect(seen).toMatchObject({ unsynced: 0, early: 0 });
  expect(seen.copied).toBeGreaterThan(4_000);
  expect(seen.restarts).toBeGreaterThanOrEqual(2);
});

/** Counts pages that were copied into the file, and the log's new beginnings; which of them came before their time. */
function judge(lines: readonly string[], path: string): { copied: number; unsynced: number; restarts: number; early: number } {
  const seen = { copied: 0, unsynced: 0, restarts: 0, early: 0 };
  const inLog = new Set<number>();
  let onDisk = new Set<number>();
  let isCopyUnsynced = false;
  /** By thread: what it waits for. */
  const waiting = new Map<string, () => void>();
  const begun = (name: string): (() => void) => {
    const snapshot = new Set(inLog);
    if (name.endsWith('-wal')) return () => (onDisk = new Set([...onDisk, ...snapshot]));
    const { copied } = seen;
    return () => {
      if (seen.copied === copied) isCopyUnsynced = false;
    };
  };
  for (const line of lines) {
    const thread = /^\[pid +(\d+)\]/.exec(line)?.[1] ?? '';
    if (/f(data)?sync resumed/.test(line)) waiting.get(thread)?.();
    const sync = /f(?:data)?sync\(\d+<([^>]*)>/.exec(line)?.[1];
    if (sync?.startsWith(path) === true) {
      const done = begun(sync);
      if (line.includes('unfinished')) waiting.set(thread, done);
      else done();
    }
    const write = /pwrite64\(\d+<([^>]*)>, "([^"]*)".*, (\d+), (\d+)(?:\)| <unfinished)/.exec(line);
    if (write === null) continue;
    const [, name, start = '', bytes, offset] = write;
    if (name === `${path}-wal` && bytes === '32' && offset === '0') {
      seen.restarts++;
      if (isCopyUnsynced) seen.early++;
      inLog.clear();
      onDisk.clear();
    } else if (name === `${path}-wal` && bytes === '24') inLog.add(Number.parseInt(start.replaceAll('\\x', ''), 16));
    else if (name === path) {
      seen.copied++;
      isCopyUnsynced = true;
      if (!onDisk.has(Number(offset) / PAGE_BYTES + 1) && inLog.size > 0) seen.unsynced++;
    }
  }
  return seen;
}
