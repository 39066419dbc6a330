import { spawn } from 'node:child_process';
import { readFile, writeFile } from 'node:fs/promises';
import { join, resolve } from 'node:path';
import { expect, it, onTestFinished, vi } from 'vitest';
import { freePorts } from '../e2e/installation.ts';
import { startLivekitStandIn, startService, temporaryDirectory } from './fixtures.ts';
import { addEndpoint } from './receiver.ts';

it('the receiver of docs/webhooks.md takes what is signed, once, and nothing else', async () => {
  const text = await readFile(resolve(import.meta.dirname, '../../docs/webhooks.md'), 'utf8');
  const [, program = ''] = /```js\n([^]*?)\n```/.exec(text) ?? [];
  const file = join(await temporaryDirectory(), 'receiver.mjs');
  await writeFile(file, program);
  const service = await startService((await startLivekitStandIn()).url);
  const [port = 0] = await freePorts(1);
  const url = `http://127.0.0.1:${port}/hook`;
  const { id, secret } = await addEndpoint(service, { url });
  const child = spawn(process.execPath, [file], { env: { PORT: String(port), WEBHOOK_SECRET: secret }, stdio: ['ignore', 'pipe', 'inherit'] });
  onTestFinished(() => void child.kill());
  let out = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  await vi.waitFor(() => fetch(url, { method: 'POST', body: '{}' }), { timeout: 10_000, interval: 50 });
  expect((await fetch(url, { method: 'POST', body: '{}' })).status).toBe(401);
  await service.call('POST', '/api/v1/rooms', { id: 'r1' });
  await vi.waitFor(() => expect(out).toBe('room.created r1 \n'), { timeout: 10_000, interval: 20 });
  // With the signatures of two secrets, too.
  await service.call('POST', `/api/v1/webhooks/${id}/rotate`);
  expect((await service.call('POST', `/api/v1/webhooks/${id}/test`)).body).toMatchObject({ ok: true, status: 204 });
});
