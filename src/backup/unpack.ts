import { createHash } from 'node:crypto';
import { mkdir, open } from 'node:fs/promises';
import type { FileHandle } from 'node:fs/promises';
import { dirname } from 'node:path';
import { FleetError } from '../kernel/errors.ts';
import { hasCode, isDiskFull } from '../kernel/has-code.ts';
import { parseJson } from '../kernel/parse-json.ts';
import { FORMAT, HEAD, MANIFEST, OLDEST_FORMAT, SEAL, formatSchema, headSchema, isMember, manifestSchema } from './format.ts';
import type { Head, Manifest } from './format.ts';
import { readTar } from './read-tar.ts';
import type { TarMember } from './read-tar.ts';

/** Heads and manifests are a few kilobytes. */
const LONGEST_TEXT = 1024 * 1024;

/** What an archive says of itself. */
export interface ArchiveContents {
  readonly head: Head;
  readonly manifest: Manifest;
}

export interface UnpackOptions {
  /** Where the archive came from, for what is said about it. */
  readonly source: string;
  /** Where a member is to be written; null: it is only read. */
  readonly placeOf: (name: string) => string | null;
  /** Told what the archive is before anything of it is written; throws to refuse it. */
  readonly onHead: (head: Head) => void | Promise<void>;
  /** Told of each member that is written, though its checksum is known only at the end. */
  readonly onMember: (name: string) => void;
  readonly onBytes: (bytes: number) => void;
}

/**
 * Reads an archive from its first byte to its last, writes its members and holds each against its checksum.
 * @param tar what is inside the compression
 * @throws FleetError BACKUP_DAMAGED, BACKUP_NEWER, BACKUP_OLDER, BACKUP_FOREIGN_FILE; DISK_FULL; what `onHead` throws
 */
export async function unpack(tar: AsyncIterable<Buffer>, options: UnpackOptions): Promise<ArchiveContents> {
  const { source } = options;
  let head: Head | null = null;
  let manifest: string | null = null;
  let seal: string | null = null;
  const sums = new Map<string, { bytes: number; sha256: string }>();
  for await (const member of readTar(tar)) {
    if (seal !== null) throw damaged(source, `${member.name} comes behind the end`);
    if (head === null) {
      if (member.name !== HEAD) throw new FleetError('BACKUP_FOREIGN_FILE', { path: source }, { exitCode: 2 });
      const text = await readText(member, source);
      head = parseHead(text, source);
      sums.set(HEAD, { bytes: text.length, sha256: sha256(text) });
      await options.onHead(head);
    } else if (member.name === MANIFEST) manifest = (await readText(member, source)).toString();
    else if (member.name === SEAL) seal = (await readText(member, source)).toString().trim();
    else if (manifest !== null || !isMember(member.name) || sums.has(member.name)) throw damaged(source, `${member.name} does not belong there`);
    else sums.set(member.name, await write(member, options));
  }
  if (head === null || manifest === null || seal === null) throw damaged(source, 'it ends too early');
  return { head, manifest: checkManifest({ manifest, seal, sums, head }, source) };
}

/** Reads no more than what an archive says first. @throws FleetError those of parseHead, BACKUP_DAMAGED */
export async function readHead(source: string, tar: AsyncIterable<Buffer>): Promise<Head> {
  for await (const member of readTar(tar)) {
    if (member.name !== HEAD) break;
    return parseHead(await readText(member, source), source);
  }
  throw new FleetError('BACKUP_FOREIGN_FILE', { path: source }, { exitCode: 2 });
}

/** What an archive says first. @throws FleetError BACKUP_NEWER, BACKUP_OLDER, BACKUP_DAMAGED, BACKUP_FOREIGN_FILE */
export function parseHead(text: Buffer, source: string): Head {
  const any = parseJson(formatSchema, text.toString());
  if (any === null) throw new FleetError('BACKUP_FOREIGN_FILE', { path: source }, { exitCode: 2 });
  if (any.format > FORMAT) throw new FleetError('BACKUP_NEWER', { path: source, format: any.format, known: FORMAT }, { exitCode: 2 });
  if (any.format < OLDEST_FORMAT) throw new FleetError('BACKUP_OLDER', { path: source, format: any.format, oldest: OLDEST_FORMAT }, { exitCode: 2 });
  const head = parseJson(headSchema, text.toString());
  if (head === null) throw damaged(source, HEAD);
  return head;
}

/** An archive that is not what it was. */
export function damaged(source: string, reason: string, cause?: unknown): FleetError {
  return new FleetError('BACKUP_DAMAGED', { path: source, reason }, { exitCode: 2, ...(cause === undefined ? {} : { cause }) });
}

function checkManifest(
  { manifest, seal, sums, head }: { manifest: string; seal: string; sums: ReadonlyMap<string, { bytes: number; sha256: string }>; head: Head },
  source: string,
): Manifest {
  if (sha256(Buffer.from(manifest)) !== seal) throw damaged(source, MANIFEST);
  const parsed = parseJson(manifestSchema, manifest);
  if (parsed === null || parsed.id !== head.id) throw damaged(source, MANIFEST);
  for (const { name, bytes, sha256: wanted } of parsed.members) {
    const found = sums.get(name);
    if (found?.bytes !== bytes || found.sha256 !== wanted) throw damaged(source, name);
  }
  if (parsed.members.length !== sums.size) throw damaged(source, MANIFEST);
  return parsed;
}

async function readText(member: TarMember, source: string): Promise<Buffer> {
  if (member.size > LONGEST_TEXT) throw damaged(source, member.name);
  const parts: Buffer[] = [];
  for await (const chunk of member.bytes()) parts.push(chunk);
  return Buffer.concat(parts);
}

async function write(member: TarMember, { source, placeOf, onMember, onBytes }: UnpackOptions): Promise<{ bytes: number; sha256: string }> {
  const hash = createHash('sha256');
  const path = placeOf(member.name);
  let file: FileHandle | null = null;
  try {
    if (path !== null) await mkdir(dirname(path), { recursive: true, mode: 0o700 });
    file = path === null ? null : await open(path, 'wx', 0o600);
    for await (const chunk of member.bytes()) {
      const written = file?.write(chunk).then(({ bytesWritten }) => {
        // A disk that becomes full may take a part.
        if (bytesWritten < chunk.length) throw new FleetError('DISK_FULL', { path: path ?? '' });
      });
      // A piece that is written while something else fails is nobody's.
      written?.catch(() => undefined);
      hash.update(chunk);
      onBytes(chunk.length);
      await written;
    }
  } catch (error) {
    if (path !== null && isDiskFull(error)) throw new FleetError('DISK_FULL', { path }, { cause: error });
    // A file in the place of another one’s folder, or the other way round.
    if (hasCode(error, 'EEXIST', 'ENOTDIR', 'EISDIR')) throw damaged(source, `${member.name} does not belong there`, error);
    throw error;
  } finally {
    await file?.close();
  }
  onMember(member.name);
  return { bytes: member.size, sha256: hash.digest('hex') };
}

function sha256(text: Buffer): string {
  return createHash('sha256').update(text).digest('hex');
}
