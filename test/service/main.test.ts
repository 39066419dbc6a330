import { spawn } from 'node:child_process';
import type { ChildProcess } from 'node:child_process';
import { once } from 'node:events';
import { writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it, onTestFinished, vi } from 'vitest';
import { openStore } from '../../src/service/store/store.ts';
import { apiToken, keys, serviceConfig, startLivekitStandIn, temporaryDirectory } from './fixtures.ts';

const main = fileURLToPath(new URL('../../src/service/main.ts', import.meta.url));

interface Running {
  readonly child: ChildProcess;
  readonly output: { out: string; err: string };
  readonly ended: Promise<unknown>;
}

function start(args: string[]): Running {
  const child = spawn(process.execPath, [main, ...args], { stdio: ['ignore', 'pipe', 'pipe'] });
  onTestFinished(() => void child.kill('SIGKILL'));
  const output = { out: '', err: '' };
  child.stdout.on('data', (chunk: Buffer) => (output.out += chunk.toString('utf8')));
  child.stderr.on('data', (chunk: Buffer) => (output.err += chunk.toString('utf8')));
  return { child, output, ended: once(child, 'close') };
}

describe('the process', () => {
  it.each<[string, (config: object) => string | null, string]>([
    ['no such file', () => null, 'ENOENT'],
    ['no JSON', (config) => `${JSON.stringify(config)}x`, 'not valid JSON'],
    ['a missing setting', (config) => JSON.stringify({ ...config, port: undefined }), 'port'],
    ['a signing key without a secret', (config) => JSON.stringify({ ...config, signingKey: 'key9' }), 'signingKey'],
    ['an address with a slash at its end', (config) => JSON.stringify({ ...config, publicUrl: 'wss://meet.example.com/' }), 'publicUrl'],
    [
      'a file of keys that is not there',
      (config) => JSON.stringify({ ...config, endUsers: { jwks: '/none/jwks.json', issuer: 'i', audience: 'a', claim: 'sub' } }),
      '/none/jwks.json',
    ],
    ['several mistakes', (config) => JSON.stringify({ ...config, port: -1, tokenSha256: [] }), 'tokenSha256'],
  ])('ends with 2 and one line: %s', async (_name, text, wanted) => {
    const directory = await temporaryDirectory();
    const file = join(directory, 'service.json');
    const content = text(serviceConfig(directory, 'http://127.0.0.1:1'));
    if (content !== null) await writeFile(file, content);
    const { child, output, ended } = start(['--config', file]);
    await ended;
    expect(child.exitCode).toBe(2);
    expect(output.err).toMatch(/^service: configuration: [^\n]+\n$/);
    expect(output.err).toContain(wanted);
    for (const secret of Object.values(keys)) expect(output.err).not.toContain(secret);
  });

  it.each([[[]], [['--unknown']]])('ends with 2 for the arguments %j', async (args) => {
    const { child, output, ended } = start(args);
    await ended;
    expect([child.exitCode, output.err.split('\n').length]).toEqual([2, 2]);
  });

  it.each(['SIGTERM', 'SIGINT'] as const)('finishes an accepted request after %s, then ends with 0', async (signal) => {
    const directory = await temporaryDirectory();
    let url = '';
    let child: ChildProcess | undefined;
    const livekit = await startLivekitStandIn(async () => {
      // The request is accepted and waits for LiveKit: stop now, and answer when the service no longer listens.
      child?.kill(signal);
      await vi.waitFor(() => expect(fetch(`${url}/healthz`)).rejects.toThrow('fetch failed'), { timeout: 5_000 });
    });
    const config = serviceConfig(directory, livekit.url);
    await writeFile(join(directory, 'service.json'), JSON.stringify(config));
    const running = start(['--config', join(directory, 'service.json')]);
    child = running.child;
    url = await vi.waitFor(() => /"Server listening at (http:[^"]+)"/.exec(running.output.out)?.[1] ?? Promise.reject(new Error(running.output.err)), {
      timeout: 15_000,
    });
    const headers = { authorization: `Bearer ${apiToken}`, 'content-type': 'application/json' };
    const made = await fetch(`${url}/api/v1/rooms`, { method: 'POST', headers, body: '{"id":"r1","start":true}' });
    expect(made.status).toBe(201);
    await running.ended;
    expect(running.output.out).not.toContain('did not finish in time');
    expect([child.exitCode, running.output.err]).toEqual([0, '']);
    const store = await openStore(config.database);
    expect(await store.findRoom('r1')).toMatchObject({ id: 'r1' });
    await store.close();
  });
});
