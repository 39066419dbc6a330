import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { appendFile, mkdtemp, readFile, rm, stat, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import type { Readable } from 'node:stream';
import { text } from 'node:stream/consumers';
import { pino } from 'pino';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { connectionEnder } from '../../src/agent/dead-sockets.ts';
import { closerScript } from '../../src/render/socket-closer.ts';
import { needPrograms } from '../debian-packages.ts';
import { until } from '../e2e/installation.ts';
import { hasReader, isRead } from '../reader.ts';

const [redis, livekit, foreign, loopback] = ['10.9.8.7:6379', '10.9.8.7:7880', '10.9.8.7:5432', '127.0.0.1:6379'] as const;
const own = [redis, livekit, foreign, loopback];

/** The real program with real connections, in a network of its own. */
describe('the sockets part', () => {
  let folder: string;
  let holder: ReturnType<typeof spawn>;
  let part: ReturnType<typeof spawn>;
  let connections: ReturnType<typeof spawn>;
  let lines: string[];
  const logged: string[] = [];
  const log = pino({ level: 'error' }, { write: (line: string) => logged.push(line) });

  const inside = (argv: readonly string[]): ReturnType<typeof spawn> =>
    spawn('nsenter', ['-t', String(holder.pid), '-n', ...argv], { stdio: ['ignore', 'pipe', 'ignore'] });
  const ended = (): string[] => lines.filter((line) => line.startsWith('ended ')).map((line) => line.slice(6));
  const tell = (line: string): Promise<void> => appendFile(`${folder}/run.pipe`, line);
  const rules = async (): Promise<string> => text(inside(['nft', 'list', 'ruleset']).stdout as Readable);
  const state = (): Promise<string> => readFile(`${folder}/run.state`, 'utf8').catch(() => '');
  const start = async (): Promise<void> => {
    part = inside(['/bin/sh', `${folder}/sockets.sh`, `${folder}/run`, 'nobody', '6379,7880', '7980,50000-50010', '6379', '7880']);
    part.stdout?.resume();
    await until(async () => (await state()) === 'ready\n', 5_000);
  };

  beforeEach(async () => {
    await needPrograms({ ss: 'iproute2', nft: 'nftables' });
    folder = await mkdtemp(`${tmpdir()}/livekit-fleet-sockets-`);
    await writeFile(`${folder}/sockets.sh`, closerScript);
    const network = 'ip link set lo up; ip address add 10.9.8.7/32 dev lo; echo ready; exec sleep infinity';
    holder = spawn('unshare', ['-n', 'sh', '-c', network], { stdio: ['ignore', 'pipe', 'ignore'] });
    await once(holder.stdout ?? holder, 'data');
    await start();
    lines = [];
    connections = inside([process.execPath, `${import.meta.dirname}/connections.ts`, ...own]);
    if (connections.stdout !== null) createInterface(connections.stdout).on('line', (line) => lines.push(line));
    await until(async () => own.every((address) => lines.includes(`open ${address}`)), 10_000);
  });

  afterEach(async () => {
    for (const child of [part, connections, holder]) {
      if (child.exitCode !== null || child.signalCode !== null) continue;
      const gone = once(child, 'exit');
      child.kill(child === part ? 'SIGTERM' : 'SIGKILL');
      await gone;
    }
    await rm(folder, { recursive: true });
  });

  it('ends the connections to an address and port that the agent names, and no others', async () => {
    const endConnections = connectionEnder(`${folder}/run.pipe`, log);
    await endConnections('10.9.8.7', 6379);
    await until(async () => ended().includes(redis), 5_000);
    await endConnections('10.9.8.7', 7880);
    await until(async () => ended().includes(livekit), 5_000);
    expect(ended()).toEqual([redis, livekit]);
    expect(await state()).toBe('ready\n');
    expect(logged).toEqual([]);
  });

  it('refuses other ports, loopback, and whatever is no address', async () => {
    const refused = ['10.9.8.7 5432', '127.0.0.1 6379', '10.9.8.7 637', '10.9.8.7', '10.9.8.0/24 6379', '* 6379', '10.9.8.7 6379 or dport = :5432', '::1 6379'];
    for (const one of refused) await tell(`${one}\n`);
    await tell(`$(touch ${folder}/owned) 6379\n\n${'x'.repeat(9_000)}\n`);
    // What is asked last is done last.
    await tell('10.9.8.7 7880\n');
    await until(async () => ended().length > 0, 5_000);
    expect(ended()).toEqual([livekit]);
    await expect(stat(`${folder}/owned`)).rejects.toThrow('ENOENT');
  });

  it('cuts the machine off for a drill, by rules that end by themselves, and takes no other time for it', async () => {
    for (const one of ['cut 0', 'cut 61', 'cut -1', 'cut 100', 'cut 5 6', 'cut', 'cut 5;nft', 'cut 5,6', 'cut $(nft)']) await tell(`${one}\n`);
    await tell('10.9.8.7 7880\n');
    await until(async () => ended().length > 0, 5_000);
    expect(await rules()).toBe('');
    await tell('cut 2\n');
    await until(async () => /elements = \{.*expires/s.test(await rules()), 5_000);
    expect(await rules()).toMatch(/oif != "lo" meta skuid 65534 meta l4proto @cut drop/);
    await until(async () => !(await rules()).includes('elements'), 10_000);
    await tell('cut 60\n');
    await until(async () => (await rules()).includes('elements'), 5_000);
    const gone = once(part, 'exit');
    part.kill('SIGTERM');
    await gone;
    expect(await rules()).toBe('');
  });

  it('takes back, where it starts anew, what one that was killed has cut', async () => {
    await tell('cut 60\n');
    await until(async () => (await rules()).includes('elements') && hasReader(part.pid ?? 0), 5_000);
    const gone = once(part, 'exit');
    part.kill('SIGKILL');
    await gone;
    await rm(`${folder}/run.state`);
    expect(await rules()).toContain('elements');
    await until(async () => !(await isRead(`${folder}/run.pipe`)), 5_000);
    await start();
    expect(await rules()).toBe('');
  });

  it('lets the group of the service write to its pipe, nobody read it, and ends with nothing left', async () => {
    const pipe = await stat(`${folder}/run.pipe`);
    expect([pipe.isFIFO(), (pipe.mode & 0o777).toString(8)]).toEqual([true, '620']);
    const gone = once(part, 'exit');
    part.kill('SIGTERM');
    await gone;
    await expect(stat(`${folder}/run.pipe`)).rejects.toThrow('ENOENT');
    await connectionEnder(`${folder}/run.pipe`, log)('10.9.8.7', 6379);
    expect(logged.at(-1)).toContain('the sockets part does not listen');
  });
});
