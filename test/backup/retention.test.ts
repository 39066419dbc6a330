import { readdir, rm, writeFile } from 'node:fs/promises';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { folderPlace } from '../../src/backup/place.ts';
import type { Kept, Place } from '../../src/backup/place.ts';
import { keepIfProved, removeBeyond } from '../../src/backup/retention.ts';
import { scratchFolder } from './archives.ts';

const name = (machine: string, date: string): string => `livekit-fleet-${machine}-${date}T000000Z.tar.zst`;
const namesOf = (kept: readonly Kept[]): string[] => kept.map((one) => one.name);
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
    expect(namesOf(await removeBeyond(place, { keep: 1, machine: 'm2' }))).toEqual([]);
    expect(namesOf(await removeBeyond(place, { keep: 1 }))).toEqual([old]);
    expect((await readdir(folder)).toSorted()).toEqual([...others, young, other].toSorted());
  });

  it('is also what was just made, though a clock that was ahead has left names of the future', async () => {
    const future = ['20300101', '20300102', '20300103'].map((date) => name('m1', date));
    const made = name('m1', '20260103');
    await write(...future, made, name('m1', '20260102'));
    expect(namesOf(await removeBeyond(place, { keep: 3, machine: 'm1', made }))).toEqual([name('m1', '20300101'), name('m1', '20260102')]);
    expect((await readdir(folder)).toSorted()).toEqual([made, name('m1', '20300102'), name('m1', '20300103')]);
  });

  it('is also what is being restored, beyond the number', async () => {
    const [restored, old, made] = ['20260101', '20260102', '20260103'].map((date) => name('m1', date)) as [string, string, string];
    await write(restored, old, made);
    expect(namesOf(await removeBeyond(place, { keep: 1, machine: 'm1', made, isKept: (one) => one === restored }))).toEqual([old]);
    expect((await readdir(folder)).toSorted()).toEqual([restored, made]);
  });

  it('is nothing whose proof failed', async () => {
    const [good, bad] = [name('m1', '20260101'), name('m1', '20260102')];
    await write(good, bad);
    await keepIfProved(place, good, async () => undefined);
    await expect(keepIfProved(place, bad, () => Promise.reject(new Error('not whole')))).rejects.toThrow('not whole');
    expect(await readdir(folder)).toEqual([good]);
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
