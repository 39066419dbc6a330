import { mkdir, readdir, writeFile } from 'node:fs/promises';
import { join } from 'node:path';
import type { Component } from './catalogue.ts';
import { libraryFolders } from './shared-libraries.ts';
import { SourceError } from './source-error.ts';

/**
 * Binary name → path in `folder`, which is laid out like a Debian system. Where it has libraries `bin/` gets a launcher for
 * each binary: it finds its own folder without starting another process, so the component may be moved; the libraries go
 * before the system's.
 */
export async function writeLaunchers(folder: string, component: Component): Promise<Record<string, string>> {
  const files = new Set(await readdir(folder, { recursive: true }));
  const libraries = await libraryFolders(folder);
  await mkdir(join(folder, 'bin'), { recursive: true });
  const binaries: Record<string, string> = {};
  for (const name of component.binaries) {
    const program = ['usr/bin', 'usr/sbin', 'sbin'].map((place) => `${place}/${name}`).find((path) => files.has(path));
    if (program === undefined) throw new SourceError(`the packages have no ${name}`);
    if (libraries.length === 0) {
      binaries[name] = program;
      continue;
    }
    binaries[name] = `bin/${name}`;
    await writeFile(join(folder, 'bin', name), launcher(program, libraries), { mode: 0o755 });
  }
  return binaries;
}

/** The path given to exec ends in the program's name: redis-server is a link to redis-check-rdb, which looks at argv[0]. */
function launcher(program: string, libraries: readonly string[]): string {
  const paths = libraries.map((folder) => `$root/${folder}`).join(':');
  return `#!/bin/sh
self=$0
[ -L "$self" ] && self=$(readlink -f "$self")
root="\${self%/*}/.."
LD_LIBRARY_PATH="${paths}\${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LD_LIBRARY_PATH
exec "$root/${program}" "$@"
`;
}
