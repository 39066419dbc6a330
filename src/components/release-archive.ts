import { mkdir } from 'node:fs/promises';
import { join } from 'node:path';
import { releaseUrl } from './catalogue.ts';
import type { ReleaseSource } from './catalogue.ts';
import { hashFile } from './component-store.ts';
import { downloadFile, downloadText } from './download.ts';
import type { SourceContext, SourceResult } from './source-context.ts';
import { SourceError } from './source-error.ts';

/** Brings the binary from a release archive, after its checksum was found to be the published one. */
export async function bringRelease(source: ReleaseSource, context: SourceContext): Promise<SourceResult> {
  const url = (file: string): string => releaseUrl(source, file, context);
  const archiveUrl = url(source.archive);
  const name = archiveUrl.slice(archiveUrl.lastIndexOf('/') + 1);
  const expected = findChecksum(await downloadText(url(source.checksums), context), name);
  if (expected === null) throw new SourceError(`${name} is not in the checksum list`);
  const archive = join(context.scratch, name);
  await downloadFile(archiveUrl, archive, context);
  const actual = await hashFile(archive, source.algorithm);
  if (actual !== expected) throw new SourceError(`${name} has the wrong ${source.algorithm} checksum`);
  const bin = join(context.stage, 'bin');
  await mkdir(bin);
  await context.run(['tar', '-xzf', archive, '-C', bin, '--no-same-owner', source.member], { timeoutMs: 60_000 });
  return { version: source.version, binaries: { [context.component.binaries[0] ?? source.member]: `bin/${source.member}` } };
}

/** Digest of a file in the format of sha256sum (`<hex>  name`, `<hex> *name`); null where it is not listed. */
function findChecksum(list: string, name: string): string | null {
  for (const line of list.split('\n')) {
    const match = /^([0-9a-f]+)\s+\*?(.+?)\s*$/i.exec(line);
    if (match?.[2] === name) return match[1]?.toLowerCase() ?? null;
  }
  return null;
}
