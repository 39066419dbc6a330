import { spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { closeSync, openSync, rmSync, writeSync } from 'node:fs';
import { createServer } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { DatabaseSync } from 'node:sqlite';
import { expect, it, onTestFinished, vi } from 'vitest';
import { startLivekitStandIn, startService } from './fixtures.ts';
import type { TestService } from './fixtures.ts';

const reasonsOf = async (service: TestService): Promise<unknown> => (await service.call('GET', '/api/readyz')).body['reasons'];
/** The answer changes within a second. */
const eventually = (check: () => Promise<void>): Promise<void> => vi.waitFor(check, { timeout: 5_000, interval: 50 });

it('is not ready while the disk is full', async ({ skip }) => {
  let refusal: string | null = null;
  const { url } = await startLivekitStandIn();
  const service = await startService(url, {}, (directory) => {
    const { status, stderr } = spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', directory], { encoding: 'utf8' });
    if (status === 0) onTestFinished(() => void spawnSync('/bin/umount', ['--lazy', directory]));
    else refusal = stderr.trim();
  });
  skip(refusal !== null, `no tmpfs can be mounted here: ${String(refusal)}`);
  expect(await reasonsOf(service)).toEqual([]);
  const filler = join(service.directory, 'filler');
  expect(() => fill(filler)).toThrow('ENOSPC');
  await eventually(async () => expect(await reasonsOf(service)).toEqual(['database: database or disk is full']));
  rmSync(filler);
  await eventually(async () => expect(await reasonsOf(service)).toEqual([]));
});

function fill(path: string): void {
  const file = openSync(path, 'w');
  try {
    for (;;) writeSync(file, Buffer.alloc(512, 'x'));
  } finally {
    closeSync(file);
  }
}

it('writes once a second, however often it is asked', async () => {
  const service = await startService((await startLivekitStandIn()).url);
  const start = performance.now();
  for (let count = 0; count < 30; count += 1) expect(await reasonsOf(service)).toEqual([]);
  const db = new DatabaseSync(join(service.directory, 'service.db'));
  const checks = Number(db.prepare('SELECT checks FROM write_checks').get()?.['checks']);
  db.close();
  expect(checks).toBeGreaterThanOrEqual(1);
  expect(checks).toBeLessThanOrEqual(1 + Math.ceil((performance.now() - start) / 1_000));
});

it('looks sooner again after what was missing than after what was well', async () => {
  let [nowMs, isUp] = [Date.now(), false];
  const livekit = createServer((_request, response) => void response.writeHead(isUp ? 401 : 503).end()).listen(0, '127.0.0.1');
  onTestFinished(() => void livekit.close());
  await once(livekit, 'listening');
  const { port } = livekit.address() as AddressInfo;
  const service = await startService(`http://127.0.0.1:${port}`, {}, undefined, () => nowMs);
  const missing = ['livekit: HTTP 503'];
  const after = (ms: number): Promise<unknown> => {
    nowMs += ms;
    return reasonsOf(service);
  };
  expect(await after(0)).toEqual(missing);
  isUp = true;
  expect(await after(50)).toEqual(missing);
  expect(await after(50)).toEqual([]);
  isUp = false;
  expect(await after(950)).toEqual([]);
  expect(await after(50)).toEqual(missing);
});
