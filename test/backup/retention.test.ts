import { execa } from 'execa';
import { readdir, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { folderPlace } from '../../src/backup/place.ts';
import type { Kept, Place } from '../../src/backup/place.ts';
import { keepIfProved, removeBeyond, tryRemoveBeyond } from '../../src/backup/retention.ts';
import { scratchFolder } from './archives.ts';

const name = (machine: string, date: string): string => `livekit-fleet-${machine}-${date}T000000Z.tar.zst`;
const namesOf = (kept: readonly Kept[]): string[] => kept.map((one) => one.name);
const nowMs = Date.parse('2026-01-03T00:00:01Z');
const signal = new AbortController().signal;

describe('what is kept', () => {
  let folder: string;
  let place: Place;
  const write = (...names: string[]): Promise<unknown> => Promise.all(names.map((one) => writeFile(`${folder}/${one}`, 'x')));
  beforeEach(async () => {
    folder = await scratchFolder();
    place = folderPlace(folder);
  });
  afterEach(() => rm(folder, { recursive: true }));

  it('is the newest of each machine, and what is no archive', async () => {
    const others = ['notes.txt', `${name('m1', '20200101')}.bak`, 'livekit-fleet-m1.tar.zst'];
    const [old, young, other] = [name('m1', '20260101'), name('m1', '20260102'), name('m2', '20250101')];
    await write(...others, old, young, other);
    expect(namesOf(await removeBeyond(place, { nowMs, keep: 1, machine: 'm2' }))).toEqual([]);
    expect(namesOf(await removeBeyond(place, { nowMs, keep: 1 }))).toEqual([old]);
    expect((await readdir(folder)).toSorted()).toEqual([...others, young, other].toSorted());
  });

  it('is none the less for names of the future, which a clock that was ahead has left', async () => {
    const [far, near] = ['20300103', '20260104'].map((date) => name('m1', date)) as [string, string];
    const [made, young, old] = ['20260103', '20260102', '20260101'].map((date) => name('m1', date)) as [string, string, string];
    await write(far, near, made, young, old);
    expect(namesOf(await removeBeyond(place, { nowMs, keep: 2, machine: 'm1', made }))).toEqual([old]);
    expect((await readdir(folder)).toSorted()).toEqual([young, made, near, far]);
    // Nor for a clock that is behind now, and makes all of them names of the future.
    const behind = ['20200101', '20200102'].map((date) => name('m1', date)) as [string, string];
    await write(...behind);
    expect(namesOf(await removeBeyond(place, { nowMs: Date.parse('2020-01-02T00:00:01Z'), keep: 1, machine: 'm1', made: behind[1] }))).toEqual([behind[0]]);
    expect((await readdir(folder)).toSorted()).toEqual([behind[1], young, made, near, far]);
  });

  it('is also what is being restored, beyond the number', async () => {
    const [restored, old, made] = ['20260101', '20260102', '20260103'].map((date) => name('m1', date)) as [string, string, string];
    await write(restored, old, made);
    expect(namesOf(await removeBeyond(place, { nowMs, keep: 1, machine: 'm1', made, isKept: (one) => one === restored }))).toEqual([old]);
    expect((await readdir(folder)).toSorted()).toEqual([restored, made]);
  });

  it('is nothing whose proof failed', async () => {
    const [good, bad] = [name('m1', '20260101'), name('m1', '20260102')];
    await write(good, bad);
    await keepIfProved(place, good, async () => undefined);
    await expect(keepIfProved(place, bad, () => Promise.reject(new Error('not whole')))).rejects.toThrow('not whole');
    expect(await readdir(folder)).toEqual([good]);
  });

  it.runIf(process.getuid?.() === 0)('is what cannot be removed, which is told and fails nothing that was done before', async () => {
    const [old, young] = [name('m1', '20260101'), name('m1', '20260102')];
    await write(old, young);
    await execa('mount', ['--bind', folder, folder]);
    try {
      await execa('mount', ['-o', 'remount,bind,ro', folder]);
      const told: unknown[] = [];
      await tryRemoveBeyond(place, { nowMs, keep: 1 }, (reason) => told.push(reason));
      expect(told).toMatchObject([{ code: 'BACKUP_PLACE_UNUSABLE', params: { place: folder, reason: 'EROFS' } }]);
      await expect(removeBeyond(place, { nowMs, keep: 1 })).rejects.toMatchObject({ code: 'BACKUP_PLACE_UNUSABLE' });
    } finally {
      await execa('umount', [folder]);
    }
    expect((await readdir(folder)).toSorted()).toEqual([old, young]);
  });

  it('is what another machine is writing into the same folder; what a killed run of this one left goes', async () => {
    const part = (machine: string): string => `.${name(machine, '20260101')}.part-99999999`;
    await write(part('m1'), part('m2'));
    const chunks = (async function* () {
      yield Buffer.from('archive');
    })();
    await place.write(name('m1', '20260102'), chunks, signal);
    expect((await readdir(folder)).toSorted()).toEqual([part('m2'), name('m1', '20260102')]);
  });
});
