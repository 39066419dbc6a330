import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:http';
import type { RequestListener } from 'node:http';
import { join } from 'node:path';
import { onTestFinished } from 'vitest';
import { FleetError } from '../../src/kernel/errors.ts';

const architecture = process.arch === 'arm64' ? 'arm64' : 'amd64';
export const archiveName = `caddy_2.11.9_linux_${architecture}.tar.gz`;
/** What every machine has; package registries come in only where a test brings a stand-in for them. */
const basics = ['sh', 'tar', 'gzip', 'install', 'sleep', 'setsid', 'cp', 'mkdir', 'dpkg-deb'];

/** A folder for PATH with nothing but the basics. */
export function makeToolFolder(folder: string): string {
  const tools = join(folder, 'tools');
  mkdirSync(tools);
  for (const name of basics) symlinkSync(execFileSync('sh', ['-c', `command -v ${name}`], { encoding: 'utf8' }).trim(), join(tools, name));
  return tools;
}

/** A script that answers as Caddy does; `padding` bytes make the file larger. */
export function writeCaddy(path: string, version: string, padding: Buffer = Buffer.alloc(0)): string {
  writeFileSync(path, Buffer.concat([Buffer.from(`#!/bin/sh\necho "v${version} h1:stand-in"\nexit\n`), padding]), { mode: 0o755 });
  return path;
}

/** An HTTP server on a free port until the test ends; gives its address. */
export async function listen(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  onTestFinished(() => {
    server.closeAllConnections();
    server.close();
  });
  await new Promise<void>((done) => server.listen(0, '127.0.0.1', done));
  const address = server.address();
  if (address === null || typeof address === 'string') throw new Error('no port');
  return `http://127.0.0.1:${address.port}`;
}

/** A mirror with a Caddy archive and its checksum list; `version` is what its program tells. */
export async function startMirror(
  folder: string,
  options: { version?: string; digest?: string; padding?: Buffer } = {},
): Promise<{ url: string; requests: string[] }> {
  const origin = join(folder, 'origin');
  mkdirSync(origin);
  writeCaddy(join(origin, 'caddy'), options.version ?? '2.11.9', options.padding);
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

/** A Debian package with a library and these programs: copies of `program`, or scripts that print what LD_LIBRARY_PATH and their pid are. */
export function buildPackage(folder: string, options: { name: string; version: string; programs: readonly string[]; program?: string }): string {
  const root = join(folder, 'package');
  mkdirSync(join(root, 'DEBIAN'), { recursive: true });
  writeFileSync(join(root, 'DEBIAN/control'), `Package: ${options.name}\nVersion: ${options.version}\nArchitecture: all\nMaintainer: a\nDescription: b\n`);
  for (const path of ['usr/bin', 'usr/lib/own']) mkdirSync(join(root, path), { recursive: true });
  const content = options.program === undefined ? '#!/bin/sh\necho "$$ $LD_LIBRARY_PATH"\n' : readFileSync(options.program);
  for (const name of options.programs) writeFileSync(join(root, 'usr/bin', name), content, { mode: 0o755 });
  writeFileSync(join(root, 'usr/lib/own/libown.so.1'), '');
  const path = join(folder, `${options.name}_${options.version.replace(':', '%3a')}_all.deb`);
  execFileSync('dpkg-deb', ['--build', '--root-owner-group', root, path], { stdio: 'pipe' });
  return path;
}

/** The FleetError that `work` ends with. */
export async function failure(work: Promise<unknown>): Promise<FleetError> {
  const error = await work.then(
    () => null,
    (reason: unknown) => reason,
  );
  if (!(error instanceof FleetError)) throw new Error(`expected a FleetError, got ${String(error)}`, { cause: error });
  return error;
}

/** Whether a process is there and has not ended. */
export function isRunning(pid: string): boolean {
  return existsSync(`/proc/${pid}/stat`) && !readFileSync(`/proc/${pid}/stat`, 'utf8').includes(') Z ');
}
