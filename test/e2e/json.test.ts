import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { createInterface } from 'node:readline';
import { afterAll, beforeAll, expect, inject, it } from 'vitest';
import { readJoin } from '../../src/settings/join-line.ts';
import { createInstallation, until } from './installation.ts';
import type { Installation } from './installation.ts';

const parts = ['redis', 'sentinel', 'agent', 'livekit', 'sockets', 'upgrades', 'backups'];
const command = resolve(import.meta.dirname, '../../部署.sh');

/** A media machine that a program deploys. One story; the order matters. */
let place: Installation;

beforeAll(async () => {
  place = await createInstallation({ COMPONENT_DIR: inject('componentStore'), FIREWALL: 'off' });
});

afterAll(async () => {
  await place.run(['stop', '--yes', '--now']);
  await place.remove();
});

it('gives the program that deploys a media machine what machine 1 needs', async () => {
  const done = await place.run(['deploy-livekit-only', '--json']);
  expect(done).toMatchObject({ code: 0, err: '' });
  const { join, signalling } = JSON.parse(done.out) as { join: string; signalling: string };
  const { REDIS_HOST: address, REDIS_PASSWORD: password } = readJoin(join);
  expect(signalling).toBe(`${address}:${place.ports['LIVEKIT_HTTP_PORT']}`);
  expect(await readFile(place.envFile, 'utf8')).toContain(`REDIS_PASSWORD=${password}\n`);
});

async function readLogs(): Promise<{ part: string; lines: string[] }[]> {
  const { out } = await place.run(['logs', '-n', '3', '--json']);
  return out.split('\n').map((line) => JSON.parse(line) as { part: string; lines: string[] });
}

it('gives the logs, a line per part', async () => {
  const rows = await readLogs();
  expect(rows.map((row) => row.part)).toEqual(parts);
  for (const { lines } of rows) expect(lines.length).toBeLessThanOrEqual(3);
  // LiveKit may write a line between the two.
  const isSame = async (): Promise<boolean> => {
    const { out: text } = await place.run(['logs', 'livekit', '-n', '3']);
    return text !== '' && (await readLogs()).find((row) => row.part === 'livekit')?.lines.join('\n') === text;
  };
  await until(isSame, 10_000);
});

it('follows the logs, each line with its part, until it is told to end', async () => {
  const child = spawn(command, ['logs', '--follow', '--json', '--env', place.envFile], { stdio: ['ignore', 'pipe', 'inherit'] });
  const deadline = setTimeout(() => child.kill('SIGKILL'), 20_000);
  const seen = new Map<string, string>();
  const ended = once(child, 'close') as Promise<[number | null]>;
  for await (const line of createInterface({ input: child.stdout })) {
    const row = JSON.parse(line) as { part: string; line: string };
    seen.set(row.part, `${seen.get(row.part) ?? ''}${row.line}\n`);
    if (seen.has('redis') && seen.has('livekit') && !child.killed) child.kill('SIGTERM');
  }
  expect(await ended).toEqual([0, null]);
  clearTimeout(deadline);
  expect(seen.get('redis')).toContain('Ready to accept connections');
  expect(seen.get('livekit')).toContain('starting LiveKit server');
});
