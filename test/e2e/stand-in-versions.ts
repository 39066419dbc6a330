import { createHash } from 'node:crypto';
import { chmod, cp, readFile, readdir, rm, stat, writeFile } from 'node:fs/promises';

/**
 * Puts other versions of LiveKit into a component store. To build one takes minutes; a stand-in is the program of the store's own
 * version (null), which is enough to see which folder's program runs, or another program's text. Gives the version that was there.
 */
export async function putVersions(store: string, versions: Readonly<Record<string, string | null>>): Promise<string> {
  const [first = ''] = (await readdir(`${store}/livekit`)).toSorted();
  for (const [version, program] of Object.entries(versions)) {
    const folder = `${store}/livekit/${version}`;
    await cp(`${store}/livekit/${first}`, folder, { recursive: true, preserveTimestamps: true });
    const binary = `${folder}/bin/livekit-server`;
    if (program !== null) {
      await rm(binary);
      await writeFile(binary, program);
    }
    await chmod(binary, 0o755);
    const { size, mtimeMs } = await stat(binary);
    const sha256 = createHash('sha256')
      .update(await readFile(binary))
      .digest('hex');
    const binaries = { 'livekit-server': 'bin/livekit-server' };
    const manifest = { version, source: 'test', binaries, files: { 'bin/livekit-server': { sha256, size, mtimeMs: Math.floor(mtimeMs) } } };
    await writeFile(`${folder}/manifest.json`, JSON.stringify(manifest));
  }
  return first;
}
