import { readFileSync, statSync } from 'node:fs';
import { basename, dirname, resolve } from 'node:path';
import { BACKUPS } from '../apply/data-dir.ts';
import { folderPlace, readFileChunks } from '../backup/place.ts';
import type { Place } from '../backup/place.ts';
import { s3Place } from '../backup/s3-place.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Settings } from '../settings/schema.ts';
import { isS3 } from '../settings/variable.ts';
import type { Layout } from '../topology/topology.ts';

/** Where backups are kept. @param to a folder or `s3://bucket/prefix` in the place of BACKUP_DIR */
export function placeOf(settings: Settings, layout: Layout, to: string | undefined): Place {
  const given = to ?? settings.BACKUP_DIR;
  if (given.startsWith('s3:')) return bucketOf(settings, given);
  return folderPlace(given === '' ? `${layout.root}/${BACKUPS}` : resolve(given));
}

/**
 * An archive that a person names: a file, or one in a bucket.
 * @throws FleetError BACKUP_NOT_FOUND
 */
export function sourceOf(settings: Settings, given: string): { name: string; bytes: AsyncIterable<Buffer> } {
  if (given.startsWith('s3:')) return { name: given, bytes: bucketOf(settings, dirname(given)).read(basename(given)) };
  const path = resolve(given);
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
  if (!isS3(address)) throw new FleetError('BACKUP_PLACE_UNUSABLE', { place: address, reason: 's3://bucket/prefix' }, { exitCode: 2 });
  return s3Place(address, {
    endpoint: settings.BACKUP_S3_ENDPOINT,
    region: settings.BACKUP_S3_REGION,
    accessKey: settings.BACKUP_S3_ACCESS_KEY,
    secretKey: settings.BACKUP_S3_SECRET_KEY,
  });
}

/** The passphrase that the settings name; null where there is none. @throws FleetError BACKUP_PASSPHRASE_UNREADABLE */
export function passphraseOf(settings: Settings): string | null {
  const { BACKUP_PASSPHRASE: text, BACKUP_PASSPHRASE_FILE: path } = settings;
  if (text !== '') return text;
  if (path === '') return null;
  try {
    const { mode, uid } = statSync(path);
    // Whoever reads it reads all that was ever backed up.
    if ((mode & 0o077) !== 0 || (process.getuid?.() === 0 && uid !== 0))
      throw new FleetError(
        'BACKUP_PASSPHRASE_UNREADABLE',
        { path, reason: `others than root may read it; chown root ${path}; chmod 600 ${path}` },
        { exitCode: 2 },
      );
    const [line = ''] = readFileSync(path, 'utf8').split(/\r?\n/);
    if (line === '') throw new FleetError('BACKUP_PASSPHRASE_UNREADABLE', { path, reason: 'its first line is empty' }, { exitCode: 2 });
    return line;
  } catch (error) {
    if (!(error instanceof Error && 'code' in error && error instanceof FleetError === false)) throw error;
    throw new FleetError('BACKUP_PASSPHRASE_UNREADABLE', { path, reason: String(error.code) }, { exitCode: 2, cause: error });
  }
}
