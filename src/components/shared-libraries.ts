import { access, copyFile, mkdir, open, readdir } from 'node:fs/promises';
import { dirname, join } from 'node:path';
import { nullIfMissing } from './component-store.ts';
import type { Runner } from './run-command.ts';
import { SourceError } from './source-error.ts';

/** The C library itself: it belongs to the kernel and the loader of the machine, and two of them in one process do not work. */
const ofLibc = /^(ld-linux[\w.-]*|ld64|lib(c|m|mvec|dl|pthread|rt|resolv|util|anl|nsl|BrokenLocale|thread_db|nss_\w+))\.so(\.\d+)*$/;

/** Where carried libraries go. */
const carriedFolder = 'usr/lib/carried';

/** These answer within milliseconds. */
const timeoutMs = 30_000;

/** Folders below `folder` that hold shared libraries, relative and sorted. */
export async function libraryFolders(folder: string): Promise<string[]> {
  const files = (await readdir(folder, { recursive: true })).filter((file) => /\.so(\.\d+)*$/.test(file));
  return [...new Set(files.map((file) => dirname(file)))].toSorted();
}

/**
 * Shared libraries that the programs in `folder` would take from the machine, the C library's own left out: name → path.
 * @throws SourceError naming a library that the machine does not have either
 */
export async function findOutsideLibraries(folder: string, { ask }: Runner): Promise<Map<string, string>> {
  const env = { LD_LIBRARY_PATH: (await libraryFolders(folder)).map((one) => join(folder, one)).join(':') };
  const outside = new Map<string, string>();
  for (const file of await findElfFiles(folder)) {
    // What is linked statically makes ldd end with 1 and name nothing.
    const { code, stdout, stderr } = await ask(['ldd', file], { timeoutMs, env });
    const isStatic = /not a dynamic executable/.test(stdout + stderr);
    if (code !== 0 && !isStatic) throw new SourceError(`ldd ${file}: ${stderr.trim()}`);
    for (const [, name = '', place = ''] of stdout.matchAll(/^\s*(\S+) => (not found|\S+)/gm)) {
      if (ofLibc.test(name)) continue;
      if (place === 'not found') throw new SourceError(`${file} needs ${name}, which this machine does not have`);
      if (!place.startsWith(`${folder}/`)) outside.set(name, place);
    }
  }
  return outside;
}

/**
 * Copies these libraries into `folder`, with the copyright files of their Debian packages, so that the programs run where
 * the libraries are not installed, or no longer are.
 */
export async function carryLibraries(folder: string, outside: ReadonlyMap<string, string>, runner: Runner): Promise<void> {
  if (outside.size === 0) return;
  await mkdir(join(folder, carriedFolder), { recursive: true });
  for (const [name, place] of outside) await copyFile(place, join(folder, carriedFolder, name));
  for (const copyright of await findCopyrights([...outside.values()], runner)) {
    await mkdir(join(folder, dirname(copyright)), { recursive: true });
    await copyFile(copyright, join(folder, copyright));
  }
}

/** `/usr/share/doc/<package>/copyright` of the Debian packages that these files belong to. */
async function findCopyrights(places: readonly string[], { ask }: Runner): Promise<string[]> {
  // dpkg knows a file by one of its names only, with or without /usr, and goes on after one that it does not know.
  const known = places.flatMap((place) => [place, place.startsWith('/usr/') ? place.slice('/usr'.length) : `/usr${place}`]);
  const { stdout } = await ask(['dpkg-query', '-S', ...known], { timeoutMs });
  const packages = new Set([...stdout.matchAll(/^([^:\s]+)(?::\w+)?: \//gm)].map(([, name]) => `/usr/share/doc/${name}/copyright`));
  const found = await Promise.all([...packages].map(async (path) => ((await access(path).then(() => true, nullIfMissing)) === true ? [path] : [])));
  return found.flat();
}

async function findElfFiles(folder: string): Promise<string[]> {
  const entries = await readdir(folder, { recursive: true, withFileTypes: true });
  const places = entries.filter((entry) => entry.isFile()).map((entry) => join(entry.parentPath, entry.name));
  const found = await Promise.all(places.map(async (place) => ((await isElf(place)) ? [place] : [])));
  return found.flat().toSorted();
}

async function isElf(path: string): Promise<boolean> {
  const file = await open(path);
  try {
    const { buffer } = await file.read(Buffer.alloc(4), 0, 4, 0);
    return buffer.toString('latin1') === '\x7fELF';
  } finally {
    await file.close();
  }
}
