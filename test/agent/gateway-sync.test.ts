import { mkdir, readFile, rmdir, stat, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { Redis } from 'ioredis';
import { describe, expect, onTestFinished, test } from 'vitest';
import { openFleetMemory } from '../../src/agent/fleet-memory.ts';
import { startGatewaySync } from '../../src/agent/gateway-sync.ts';
import type { GatewaySync, GatewaySyncOptions } from '../../src/agent/gateway-sync.ts';
import { openUpstreams } from '../../src/agent/upstream-files.ts';
import { upstreamFiles } from '../../src/contract/upstream-files.ts';
import type { NodeRecord } from '../../src/contract/node-record.ts';
import { nodeRecord, silentLog, temporaryDirectory, until } from './fixtures.ts';
import { startRedis } from './redis.ts';

interface Place {
  readonly memory: string;
  readonly paths: readonly string[];
  /** What Caddy reads, each once; fails while there is less than all of it. */
  upstreams(): Promise<string[]>;
}

/** A gateway's state; @param fleet that it remembers */
async function makePlace(fleet: readonly NodeRecord[] | null): Promise<Place> {
  const directory = await temporaryDirectory();
  const [memory, paths] = [join(directory, 'fleet.json'), upstreamFiles(directory, false)];
  if (fleet !== null) await openFleetMemory(memory).save(fleet);
  const upstreams = async (): Promise<string[]> => [...new Set(await Promise.all(paths.map((path) => readFile(path, 'utf8'))))];
  return { memory, paths, upstreams };
}

/** Stopped after the test; its Redis never answers unless another is given. */
function startSync({ memory, paths }: Place, options: Partial<GatewaySyncOptions> = {}): GatewaySync {
  const redis = new Redis({ lazyConnect: true });
  const given = { redis, subscriber: redis, upstreams: openUpstreams(paths), memory: openFleetMemory(memory) };
  const sync = startGatewaySync({ ...given, log: silentLog, monotonicMs: () => performance.now(), ...options });
  onTestFinished(() => sync.stop());
  return sync;
}

const b = nodeRecord({ machine: 'm2', signalling: 'b:1' });
const c = nodeRecord({ machine: 'm3', signalling: 'c:1', nodeId: 'ND_3' });

test('starts from the remembered fleet while Redis is away, and writes nothing twice', async () => {
  const place = await makePlace([b, c]);
  const sync = startSync(place);
  await until(() => expect(sync.isInStep()).toBe(true));
  expect(await place.upstreams()).toEqual(['b:1', 'c:1']);
  expect(sync.wayTo({ nodeId: 'ND_3', machine: null })).toBe('c:1');
  const times = async (): Promise<number[]> => Promise.all(place.paths.map(async (path) => (await stat(path)).ctimeMs));
  const before = await times();
  await sync.stop();
  const next = startSync(place);
  await until(() => expect(next.isInStep()).toBe(true));
  expect(await times()).toEqual(before);
});

test('before anybody has registered, what the deploy or an agent before has written stands', async () => {
  const { connect } = await startRedis();
  const place = await makePlace(null);
  await openUpstreams(place.paths).give(['b:1']);
  let looks = 0;
  const sync = startSync(place, { redis: connect(), subscriber: connect(), monotonicMs: () => ++looks });
  await sync.looked;
  await until(() => expect(looks).toBeGreaterThan(2));
  expect(await place.upstreams()).toEqual(['b:1']);
});

test('a gateway that nobody has joined has files with nothing in them', async () => {
  const place = await makePlace(null);
  startSync(place);
  await until(async () => expect(await place.upstreams()).toEqual(['']));
});

test('connections to a machine that vanished end once, as soon as its clients are led elsewhere', async () => {
  const place = await makePlace([{ ...b, nodeId: null, state: 'down' }, c]);
  const ended: { address: string; upstreams: readonly string[] }[] = [];
  let looks = 0;
  const sync = startSync(place, {
    seen: { isOutOfReach: (machine) => machine === 'm2', isCutOff: () => false, isQuiet: () => false },
    endConnections: async (host, port) => void ended.push({ address: `${host}:${port}`, upstreams: await place.upstreams() }),
    onFleet: () => void looks++,
  });
  await until(() => expect(looks).toBe(1));
  expect(ended).toEqual([{ address: 'b:1', upstreams: ['c:1'] }]);
  sync.poke();
  await until(() => expect(looks).toBeGreaterThan(1));
  expect(ended).toHaveLength(1);
});

test('clients of a machine that has been down for twelve seconds are led to the others', async () => {
  const place = await makePlace([{ ...b, state: 'down' }, c]);
  let laterMs = 0;
  const sync = startSync(place, { monotonicMs: () => performance.now() + laterMs });
  await until(() => expect(sync.isInStep()).toBe(true));
  const ways = (): (string | null)[] => [sync.wayTo({ nodeId: 'ND_1', machine: null }), sync.wayTo({ nodeId: null, machine: 'm2' })];
  expect(ways()).toEqual(['wait', 'wait']);
  laterMs = 12_000;
  sync.poke();
  await until(() => expect(ways()).toEqual([null, null]));
});

test('what cannot be written is said; clients are led all the same', async () => {
  const place = await makePlace([b]);
  // Where a text is to be written first.
  await mkdir(`${place.paths[0]}.next`);
  let looks = 0;
  const sync = startSync(place, { memory: { load: openFleetMemory(place.memory).load, save: async () => void looks++ } });
  await until(() => expect(looks).toBeGreaterThan(0));
  expect(sync.isInStep()).toBe(false);
  expect(sync.wayTo({ nodeId: 'ND_1', machine: null })).toBe('b:1');
});

describe('the upstreams’ files', () => {
  test('name each machine as often as the others, and may be read by their owner and his group alone', async () => {
    const place = await makePlace(null);
    const upstreams = openUpstreams(place.paths);
    expect(await upstreams.give(['a:1', 'b:1'])).toBe(true);
    expect(await upstreams.give(['a:1', 'b:1'])).toBe(false);
    const texts = await Promise.all(place.paths.map((path) => readFile(path, 'utf8')));
    expect(texts.filter((text) => text === 'a:1')).toHaveLength(texts.length / 2);
    for (const path of place.paths) expect((await stat(path)).mode & 0o007).toBe(0);
    expect(await upstreams.give([])).toBe(true);
    expect(await upstreams.isAny()).toBe(false);
  });

  test('are filled from the last, and emptied from the first, which Caddy takes for all', async () => {
    const place = await makePlace(null);
    const upstreams = openUpstreams(place.paths);
    await upstreams.give([]);
    const [first = '', last = ''] = [place.paths[0], place.paths.at(-1)];
    // One that cannot be written ends it there.
    await mkdir(`${first}.next`);
    await expect(upstreams.give(['a:1'])).rejects.toThrow('EISDIR');
    expect([await readFile(first, 'utf8'), await readFile(last, 'utf8')]).toEqual(['', 'a:1']);
    await rmdir(`${first}.next`);
    await upstreams.give(['a:1']);
    await mkdir(`${last}.next`);
    await expect(upstreams.give([])).rejects.toThrow('EISDIR');
    expect([await readFile(first, 'utf8'), await readFile(last, 'utf8')]).toEqual(['', 'a:1']);
  });

  test('are read before they are written: one that lost its text to a power cut gets it again', async () => {
    const place = await makePlace(null);
    await openUpstreams(place.paths).give(['a:1']);
    await writeFile(place.paths[3] ?? '', '');
    expect(await openUpstreams(place.paths).give(['a:1'])).toBe(true);
    expect(await place.upstreams()).toEqual(['a:1']);
  });
});
