import { existsSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { BACKUPS } from '../apply/data-dir.ts';
import { parseArchiveName } from '../backup/format.ts';
import { folderPlace, readFileChunks } from '../backup/place.ts';
import type { Place } from '../backup/place.ts';
import { s3Place } from '../backup/s3-place.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import { isS3 } from '../settings/variable.ts';
import type { Layout } from '../topology/topology.ts';

/** Where backups are kept. @param to a folder or `s3://bucket/prefix` in the place of BACKUP_DIR @throws FleetError BAD_OPTION_VALUE, BACKUP_ADDRESS_WRONG, BACKUP_KEYS_MISSING */
export function placeOf(settings: Settings, layout: Layout, to: string | undefined): Place {
  if (to === '') throw new FleetError('BAD_OPTION_VALUE', { option: '--to <place>', value: "''" }, { exitCode: 2 });
  const given = to ?? settings.BACKUP_DIR;
  if (given.startsWith('s3:')) return bucketOf(settings, given);
  return folderPlace(given === '' ? `${layout.root}/${BACKUPS}` : resolve(given));
}

/** An archive that a person has named. */
export interface Source {
  /** Where it is: an absolute path, or `s3://…`. */
  readonly name: string;
  readonly bytes: AsyncIterable<Buffer>;
}

/**
 * An archive that a person names: a file, or one in a bucket; also by its bare name one that is where backups are kept.
 * @throws FleetError BACKUP_NOT_FOUND
 */
export function sourceOf(settings: Settings, layout: Layout, given: string): Source {
  if (given.startsWith('s3:')) return { name: given, bytes: bucketOf(settings, dirname(given)).read(basename(given)) };
  const path = resolve(given);
  if (parseArchiveName(given) !== null && !existsSync(path)) {
    const place = placeOf(settings, layout, undefined);
    const name = place.addressOf(given);
    if (settings.BACKUP_DIR.startsWith('s3:')) return { name, bytes: place.read(given) };
    if (existsSync(name)) return { name, bytes: place.read(given) };
  }
  try {
    const info = statSync(path);
    if (!info.isFile()) throw new FleetError('BACKUP_NOT_FOUND', { path, reason: info.isDirectory() ? 'EISDIR' : 'not a file' }, { exitCode: 2 });
    return { name: path, bytes: readFileChunks(path) };
  } catch (error) {
    if (error instanceof FleetError || !(error instanceof Error && 'code' in error)) throw error;
    throw new FleetError('BACKUP_NOT_FOUND', { path, reason: String(error.code) }, { exitCode: 2, cause: error });
  }
}

function bucketOf(settings: Settings, address: string): Place {
  if (!isS3(address)) throw new FleetError('BACKUP_ADDRESS_WRONG', { place: address }, { exitCode: 2 });
  const access = {
    endpoint: settings.BACKUP_S3_ENDPOINT,
    region: settings.BACKUP_S3_REGION,
    accessKey: settings.BACKUP_S3_ACCESS_KEY,
    secretKey: settings.BACKUP_S3_SECRET_KEY,
  };
  return s3Place(address, access, { now: Date.now });
}
