import { spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { writeFile } from 'node:fs/promises';
import { resolve } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { apiToken, emptyDatabase, serviceConfig, startLivekitStandIn, temporaryDirectory } from '../service/fixtures.ts';

const program = resolve(import.meta.dirname, '../../dist/service.cjs');

it.skipIf(!existsSync(program))('the built program has PostgreSQL’s client in it', async () => {
  const directory = await temporaryDirectory();
  const config = { ...serviceConfig(directory, (await startLivekitStandIn()).url), database: await emptyDatabase(directory) };
  await writeFile(`${directory}/service.json`, JSON.stringify(config));
  const child = spawn(process.execPath, [program, '--config', `${directory}/service.json`], { stdio: ['ignore', 'pipe', 'pipe'], cwd: directory });
  onTestFinished(() => void child.kill('SIGKILL'));
  let output = '';
  for (const stream of [child.stdout, child.stderr]) stream.on('data', (chunk: Buffer) => (output += chunk.toString('utf8')));
  const url = await vi.waitFor(() => /"Server listening at (http:[^"]+)"/.exec(output)?.[1] ?? Promise.reject(new Error(output)), { timeout: 30_000 });
  const headers = { authorization: `Bearer ${apiToken}`, 'content-type': 'application/json' };
  const made = await fetch(`${url}/api/v1/rooms`, { method: 'POST', headers, body: '{"id":"r1"}' });
  expect([made.status, await made.json()]).toEqual([201, expect.objectContaining({ id: 'r1' })]);
});
