import { spawn } from 'node:child_process';
import { globSync } from 'node:fs';
import { mkdir, mkdtemp, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname } from 'node:path';
import { Redis } from 'ioredis';
import { expect, inject, it, onTestFinished } from 'vitest';
import { makePlan } from '../../src/plan/plan.ts';
import { renderRedis, renderSentinel, renderWitness } from '../../src/render/redis.ts';
import type { RenderedFile } from '../../src/render/rendered-file.ts';
import { parseSettings } from '../../src/settings/parse.ts';
import type { Settings } from '../../src/settings/schema.ts';
import { planTopology } from '../../src/topology/topology.ts';
import type { Topology } from '../../src/topology/topology.ts';
import { freePorts, until } from '../e2e/installation.ts';

/** Every character that a password may have: of ASCII all but quotes, backslash, colon and #. */
const everyCharacter = String.fromCharCode(...Array.from({ length: 0x7e - 0x20 }, (_, index) => 0x21 + index)).replace(/["'\\:#]/g, '');
const seed = { primary: '127.0.0.1', quorum: 1 };

interface Place {
  readonly settings: Settings;
  readonly topology: Topology;
}

async function createPlace(password: string): Promise<Place> {
  const folder = await mkdtemp(`${tmpdir()}/livekit-fleet-`);
  onTestFinished(() => rm(folder, { recursive: true }));
  const [redis, sentinel] = await freePorts(2);
  // In the environment there is no comment behind a value.
  const { settings, problems } = parseSettings(`DATA_DIR=${folder}\nREDIS_PORT=${redis}\nSENTINEL_PORT=${sentinel}\n`, { REDIS_PASSWORD: password });
  if (settings === null) throw new Error(JSON.stringify(problems));
  return { settings, topology: planTopology(settings, 'all', { addresses: [], hasSystemd: false, hasNft: false }) };
}

async function write({ path, content }: { path: string; content: string }): Promise<void> {
  await mkdir(dirname(path), { recursive: true });
  await writeFile(path, content);
}

/** Runs the real program with this file until it is ended; gives what it says. */
function start(file: RenderedFile): { said: () => string; end: () => Promise<void> } {
  const [program = ''] = globSync(`${inject('componentStore')}/redis/*/bin/redis-server`);
  const child = spawn(program, [file.path, ...(file.path.includes('sentinel') ? ['--sentinel'] : [])], { stdio: ['ignore', 'pipe', 'pipe'] });
  let said = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (text) => (said += String(text)));
  const ended = new Promise<void>((done) => void child.on('close', () => done()));
  onTestFinished(() => void child.kill('SIGKILL'));
  return {
    said: () => said,
    async end() {
      child.kill('SIGTERM');
      await ended;
    },
  };
}

function connect(port: number, password: string): Redis {
  const redis = new Redis({ port, password, retryStrategy: () => 50 });
  redis.on('error', () => undefined);
  onTestFinished(() => redis.disconnect());
  return redis;
}

it.each([everyCharacter, '$HOME', '<x', '>x', '~*', '@all', '--port', 'nopass', '%00%', '*'.repeat(512)])(
  'gives Redis and Sentinel the password as it is: %s',
  async (password) => {
    const { settings, topology } = await createPlace(password);
    const files = [renderRedis(settings, topology, seed), renderSentinel(settings, topology, seed)] as const;
    for (const file of files) await write(file);
    const running = files.map(start);
    const redis = connect(settings.REDIS_PORT, password);
    const sentinel = connect(settings.SENTINEL_PORT, password);
    // Sentinel gives its connection a name once Redis has let it in; twice, since Sentinel writes its file anew.
    const isWatching = async (): Promise<boolean> => String(await redis.client('LIST')).includes('name=sentinel-');
    await until(isWatching, 10_000);
    expect(await sentinel.ping()).toBe('PONG');
    await running[1]?.end();
    await until(async () => !(await isWatching()), 10_000);
    const again = start(files[1]);
    await until(isWatching, 10_000);
    for (const one of [...running, again]) expect(one.said()).not.toContain(password);
  },
);

it('never has Sentinel refuse a line with a password where a gateway machine becomes a media machine', async () => {
  const { settings, topology } = await createPlace('hunter2hunter2');
  const witness = renderWitness(settings, topology);
  await write(witness);
  const first = start(witness);
  await until(async () => (await connect(settings.SENTINEL_PORT, settings.REDIS_PASSWORD).ping()) === 'PONG', 10_000);
  await first.end();
  const file = renderSentinel(settings, topology, seed);
  const now = { content: await readFile(file.path, 'utf8'), mode: file.mode };
  const [change] = makePlan({ files: [file], parts: [] }, { files: new Map([[file.path, now]]), applied: {}, running: new Set() });
  await write({ path: file.path, content: change !== undefined && 'content' in change ? change.content : '' });
  const second = start(file);
  const primary = ['127.0.0.1', String(settings.REDIS_PORT)];
  await until(async () => second.said() !== '', 10_000);
  expect(second.said()).not.toContain('hunter2');
  expect(await connect(settings.SENTINEL_PORT, settings.REDIS_PASSWORD).call('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', 'livekit')).toEqual(primary);
});

it('says what Sentinel watches before the password for it: Redis 6.0 takes one line after the other, and prints what it refuses', async () => {
  const { settings, topology } = await createPlace('hunter2');
  const file = renderSentinel(settings, topology, seed);
  const rewritten = file.content.replace(/^(sentinel monitor .*)\n([\s\S]*)$/, '$2$1\n').replace(/^# livekit-fleet .*$/m, '# livekit-fleet former');
  expect(rewritten).toMatch(/auth-pass[\s\S]*monitor/);
  const observed = { files: new Map([[file.path, { content: rewritten, mode: file.mode }]]), applied: {}, running: new Set<never>() };
  const [change] = makePlan({ files: [file], parts: [] }, observed);
  for (const text of [file.content, change !== undefined && 'content' in change ? change.content : '']) {
    expect(text).toMatch(/^sentinel monitor livekit [\s\S]*^sentinel auth-pass livekit hunter2$/m);
    expect(text.match(/^sentinel monitor /gm)).toHaveLength(1);
  }
});
