import { execa } from 'execa';
import { existsSync, rmSync } from 'node:fs';
import { chmod, cp, mkdir, mkdtemp, readFile, readdir, rm, symlink, utimes, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from 'vitest';
import { checkTarget } from '../../src/bundle/archive.ts';
import { makeBundle } from '../../src/bundle/bundle.ts';
import type { BundleOptions } from '../../src/bundle/bundle.ts';
import type { FleetEvent } from '../../src/kernel/events.ts';
import { FleetError } from '../../src/kernel/errors.ts';
import { failure } from '../components/fixtures.ts';

const name = 'livekit-fleet-1.2.3-linux-amd64';
const longName = `docs/${'很长的名字'.repeat(8)}.md`;
const SECRET = 'hunter2hunter2';

let folder = '';
let project = '';
let events: FleetEvent[] = [];

beforeEach(async () => {
  folder = await mkdtemp(join(tmpdir(), 'fleet-bundle-test-'));
  project = join(folder, 'project');
  events = [];
  const dependencies = { '@livekit/rtc-node': '1', zod: '4', node: '24', esbuild: '0' };
  const files: Record<string, string> = {
    '部署.sh': '#!/usr/bin/env bash\n',
    '.env': `LIVEKIT_API_SECRET=${SECRET}\n`,
    '.env.example': 'DOMAIN=\n',
    'package.json': JSON.stringify({ dependencies }),
    'package-lock.json': '{}',
    'scripts/find-node.sh': '',
    'scripts/build.ts': '',
    'src/cli/main.ts': '',
    [longName]: 'long\n',
    'dist/cli.cjs': 'cli\n',
    'dist/stamp': 'stamp',
    'dist/compile-cache/x': '',
    'node/bin/node': '#!/bin/sh\n',
    'node/LICENSE': 'of Node\n',
    'node_modules/vitest/package.json': '{}',
    'node_modules/node/package.json': '{}',
    'node_modules/esbuild/package.json': '{}',
    'node_modules/zod/package.json': '{}',
    'node_modules/zod/LICENSE': 'of zod\n',
    'node_modules/@livekit/rtc-node/package.json': JSON.stringify({
      dependencies: { pino: '9' },
      optionalDependencies: { 'ffi-linux': '1', 'ffi-windows': '1' },
      devDependencies: { vitest: '1' },
    }),
    'node_modules/@livekit/rtc-node/index.js': '',
    'node_modules/@livekit/rtc-node/node_modules/pino/package.json': JSON.stringify({ dependencies: { 'sonic-boom': '4' } }),
    'node_modules/pino/package.json': '{}',
    'node_modules/sonic-boom/package.json': '{}',
    'node_modules/sonic-boom/licence.md': 'of sonic-boom\n',
    'node_modules/ffi-linux/package.json': '{}',
    'node_modules/ffi-linux/native.node': 'native',
  };
  for (const [path, text] of Object.entries(files)) {
    await mkdir(dirname(join(project, path)), { recursive: true });
    await writeFile(join(project, path), text);
  }
  for (const path of ['部署.sh', 'node/bin/node']) await chmod(join(project, path), 0o700);
  await symlink('部署.sh', join(project, '监控.sh'));
});

afterEach(() => rm(folder, { recursive: true, force: true }));

async function make(more: Partial<BundleOptions> = {}): Promise<Awaited<ReturnType<typeof makeBundle>> & { path: string }> {
  const projectRoot = more.projectRoot ?? project;
  const target = more.target ?? join(folder, 'out.tar.gz');
  const made = await makeBundle({
    projectRoot,
    name,
    about: { version: '1.2.3' },
    storeDir: join(folder, 'store'),
    components: {},
    node: { version: '24.0.0', program: join(projectRoot, 'node/bin/node') },
    target,
    emit: (event) => events.push(event),
    signal: new AbortController().signal,
    ...more,
  });
  return { ...made, path: target };
}

async function unpack(path: string): Promise<string> {
  const place = await mkdtemp(join(folder, 'unpacked-'));
  await execa('tar', ['-xzf', path, '-C', place]);
  return join(place, name);
}

/** A file system of its own. */
async function onDisk(options: string, work: (place: string) => Promise<void>): Promise<void> {
  const place = await mkdtemp(join(folder, 'disk-'));
  await execa('mount', ['-t', 'tmpfs', '-o', options, 'tmpfs', place]);
  try {
    await work(place);
  } finally {
    await execa('umount', [place]);
  }
}

describe('a bundle', () => {
  it('has what runs, and neither secrets nor sources nor what only builds and tests', async () => {
    const { path } = await make();
    const place = await unpack(path);
    const files = (await readdir(place, { recursive: true, withFileTypes: true })).filter((one) => !one.isDirectory());
    expect(files.map((one) => join(one.parentPath, one.name).slice(place.length + 1)).toSorted()).toEqual(
      [
        '.env.example',
        'MANIFEST.json',
        'SHA256SUMS',
        'bundle/components/node/LICENSE',
        'bundle/components/node/bin/node',
        'dist/cli.cjs',
        'dist/stamp',
        longName,
        'licenses/sonic-boom/licence.md',
        'licenses/zod/LICENSE',
        'node_modules/@livekit/rtc-node/index.js',
        'node_modules/@livekit/rtc-node/node_modules/pino/package.json',
        'node_modules/@livekit/rtc-node/package.json',
        'node_modules/ffi-linux/native.node',
        'node_modules/ffi-linux/package.json',
        'node_modules/sonic-boom/licence.md',
        'node_modules/sonic-boom/package.json',
        'package.json',
        'scripts/find-node.sh',
        '监控.sh',
        '部署.sh',
      ].toSorted(),
    );
    const { stdout: whole } = await execa('gzip', ['-dc', path], { encoding: 'buffer' });
    expect(Buffer.from(whole).includes(SECRET)).toBe(false);
    expect(await readFile(join(place, longName), 'utf8')).toBe('long\n');
    expect(JSON.parse(await readFile(join(place, 'MANIFEST.json'), 'utf8'))).toEqual({
      name,
      version: '1.2.3',
      components: [{ name: 'node', version: '24.0.0', source: 'node' }],
    });
  });

  it('lists the checksum of every file, and the archive has the checksum that is told', async () => {
    const { path, sha256, size } = await make();
    const place = await unpack(path);
    const { stdout } = await execa('sha256sum', ['-c', 'SHA256SUMS'], { cwd: place });
    expect(stdout.split('\n')).toHaveLength(19);
    await writeFile(join(place, 'dist/cli.cjs'), 'CLI\n');
    expect((await execa('sha256sum', ['-c', '--quiet', 'SHA256SUMS'], { cwd: place, reject: false })).exitCode).toBe(1);
    expect((await execa('sha256sum', [path])).stdout).toBe(`${sha256}  ${path}`);
    expect((await readFile(path)).length).toBe(size);
  });

  it('belongs to root, may be read by everyone, and keeps what may be run', async () => {
    const { path } = await make();
    const { stdout } = await execa('tar', ['--numeric-owner', '--full-time', '-tvzf', path], { env: { TZ: 'UTC' } });
    const rows = stdout.split('\n').map((line) => line.split(/\s+/));
    expect(new Set(rows.map((row) => [row[1], row[3], row[4]].join(' ')))).toEqual(new Set(['0/0 2020-01-01 00:00:00']));
    const modeOf = (end: string): string | undefined => rows.find((row) => row[5]?.endsWith(end))?.[0];
    expect([modeOf('/node/bin/node'), modeOf('/cli.cjs'), modeOf('/dist/')]).toEqual(['-rwxr-xr-x', '-rw-r--r--', 'drwxr-xr-x']);
  });

  it('is the same, byte for byte, from another copy of the project at another time', async () => {
    const first = await make();
    const copy = join(folder, 'copy');
    await cp(project, copy, { recursive: true, verbatimSymlinks: true });
    await utimes(join(copy, 'dist/cli.cjs'), 1, 1);
    await chmod(join(copy, 'dist/cli.cjs'), 0o600);
    const second = await make({ projectRoot: copy, target: join(folder, 'second.tar.gz') });
    expect(second.sha256).toBe(first.sha256);
    await writeFile(join(copy, 'dist/cli.cjs'), 'new\n');
    expect((await make({ projectRoot: copy, target: join(folder, 'third.tar.gz') })).sha256).not.toBe(first.sha256);
  });

  it('made from an unpacked bundle is the same bundle', async () => {
    const first = await make();
    const place = await unpack(first.path);
    const again = await make({
      projectRoot: place,
      target: join(folder, 'again.tar.gz'),
      node: { version: '24.0.0', program: join(place, 'bundle/components/node/bin/node') },
    });
    expect(again.sha256).toBe(first.sha256);
  });

  it('carries the libraries of a program that stands elsewhere on the machine', async () => {
    const { stdout } = await execa('ldd', ['/bin/ls']);
    expect(stdout).toContain('libselinux.so.1 => /');
    const made = await make({ components: { caddy: { version: '9', source: 'system', binaries: { caddy: '/bin/ls' } } } });
    expect(made.components).toContainEqual({ name: 'caddy', version: '9', source: 'system' });
    const caddy = join(await unpack(made.path), 'bundle/components/caddy');
    const env = { LD_LIBRARY_PATH: join(caddy, 'usr/lib/carried') };
    const needed = [...(await execa('ldd', [join(caddy, 'usr/bin/caddy')], { env })).stdout.matchAll(/(\S+) => (\S+)/g)];
    const foreign = needed.flatMap(([, library = '', place = '']) => (place.startsWith(caddy) ? [] : [library]));
    expect(foreign).toEqual(['libc.so.6']);
    expect((await execa(join(caddy, 'bin/caddy'), [caddy])).stdout).toContain('manifest.json');
    expect(existsSync(join(caddy, 'usr/share/doc/libselinux1/copyright'))).toBe(true);
  });

  it('says how far it is', async () => {
    await make();
    expect(events.map((event) => [event.kind, 'id' in event ? event.id : null])).toEqual([
      ['step-started', 'files'],
      ['step-finished', 'files'],
      ['step-started', 'archive'],
      ['step-finished', 'archive'],
    ]);
  });
});

describe('a bundle that cannot be made', () => {
  it('because a package is not installed is refused with its name', async () => {
    await rm(join(project, 'node_modules/sonic-boom'), { recursive: true });
    const error = await failure(make());
    expect(error).toMatchObject({ code: 'BUNDLE_INCOMPLETE', params: { path: join(project, 'node_modules/sonic-boom') } });
  });

  it('because the disk is full leaves nothing behind', async () => {
    await execa('dd', ['if=/dev/urandom', `of=${project}/dist/large.cjs`, 'bs=1M', 'count=1']);
    await onDisk('size=64k', async (small) => {
      expect(await failure(make({ target: join(small, 'out.tar.gz') }))).toMatchObject({ code: 'DISK_FULL', params: { path: small } });
      expect(await readdir(small)).toEqual([]);
    });
  });

  it('because it was interrupted leaves the former file and nothing else', async () => {
    await execa('truncate', ['-s', '80M', `${project}/dist/large.cjs`]);
    const out = join(folder, 'out');
    await mkdir(out);
    await writeFile(join(out, 'a.tar.gz'), 'former');
    const controller = new AbortController();
    const emit = (event: FleetEvent): void => {
      if (event.kind === 'step-progress') controller.abort(new FleetError('INTERRUPTED', {}, { exitCode: 130 }));
    };
    expect(await failure(make({ target: join(out, 'a.tar.gz'), emit, signal: controller.signal }))).toMatchObject({ code: 'INTERRUPTED' });
    expect(await readdir(out)).toEqual(['a.tar.gz']);
    expect(await readFile(join(out, 'a.tar.gz'), 'utf8')).toBe('former');
  });

  it('because a file went away is not blamed on the archive', async () => {
    const lost = join(project, 'dist/cli.cjs');
    const emit = (event: FleetEvent): void => {
      if (event.kind === 'step-started' && event.id === 'archive') rmSync(lost);
    };
    await expect(make({ emit })).rejects.toMatchObject({ code: 'ENOENT', path: lost });
    expect(existsSync(join(folder, 'out.tar.gz'))).toBe(false);
  });
});

describe('the place of a bundle', () => {
  it('is refused where a file stands, unless it is to be overwritten', async () => {
    const path = join(folder, 'a.tar.gz');
    await checkTarget(path, false);
    await writeFile(path, 'former');
    expect(await failure(checkTarget(path, false))).toMatchObject({ code: 'OUTPUT_EXISTS', exitCode: 2, params: { path } });
    await checkTarget(path, true);
    await make({ target: path });
    expect((await readFile(path)).subarray(0, 2)).toEqual(Buffer.from([0x1f, 0x8b]));
  });

  it.each([
    ['below a folder that is not there', 'no/a.tar.gz', 'ENOENT'],
    ['below a file', 'project/package.json/a.tar.gz', 'ENOTDIR'],
    ['that is a folder', 'project', 'EISDIR'],
  ])('%s is refused before any work', async (_, path, reason) => {
    expect(await failure(checkTarget(join(folder, path), true))).toMatchObject({ code: 'OUTPUT_UNWRITABLE', params: { path: join(folder, path), reason } });
  });

  it('that cannot be written to is told with the reason', async () => {
    await onDisk('ro', async (locked) => {
      const target = join(locked, 'a.tar.gz');
      const refused = { code: 'OUTPUT_UNWRITABLE', params: { path: target, reason: 'EROFS' } };
      expect(await failure(checkTarget(target, false))).toMatchObject(refused);
      expect(await failure(make({ target }))).toMatchObject(refused);
    });
  });

  it('is cleared of what a killed run left, and not of what a running one writes', async () => {
    const { pid } = process;
    const [dead, alive] = [join(folder, '.out.tar.gz.part-999999999'), join(folder, `.out.tar.gz.part-${process.ppid}`)];
    for (const path of [dead, alive]) await writeFile(path, '');
    await make();
    expect([existsSync(dead), existsSync(alive), existsSync(join(folder, `.out.tar.gz.part-${pid}`))]).toEqual([false, true, false]);
  });
});
