import { readFileSync, statSync } from 'node:fs';
import { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import type { Settings } from '../settings/schema.ts';
import { loadSettings } from './context.ts';
import type { CliContext } from './context.ts';
import { readHidden } from './make-way.ts';

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

/** Who opens an archive that is encrypted. */
export interface Opener {
  /**
   * Asked for where an archive is encrypted: the settings say it, or a person at a terminal, who is asked once.
   * @throws FleetError BACKUP_PASSPHRASE_MISSING, BACKUP_PASSPHRASE_UNREADABLE
   */
  ask(): Promise<string>;
  /** Does what opens the archive. @throws FleetError BACKUP_PASSPHRASE_MISTYPED where it was a person who said the wrong one; what `work` throws */
  explain<T>(work: () => Promise<T>): Promise<T>;
}

/** @param path of the archive, for what is said */
export function openerOf(context: CliContext, path: string): Opener {
  let typed = '';
  /** What the settings say; where the file that they name is not on this machine, a person may still know it. */
  const said = (): string | null => {
    const { settings } = loadSettings(context);
    const isAway = settings.BACKUP_PASSPHRASE === '' && statSync(settings.BACKUP_PASSPHRASE_FILE, { throwIfNoEntry: false }) === undefined;
    if (!isAway || settings.BACKUP_PASSPHRASE_FILE === '' || !process.stdin.isTTY) return passphraseOf(settings);
    if (typed === '') context.reporter.say('PASSPHRASE_FILE_AWAY', { path: settings.BACKUP_PASSPHRASE_FILE });
    return null;
  };
  return {
    async ask() {
      const own = said();
      if (own !== null) return own;
      if (typed === '' && process.stdin.isTTY) typed = await readHidden(context, translate(context.language, 'ASK_PASSPHRASE', { path }));
      if (typed === '') throw new FleetError('BACKUP_PASSPHRASE_MISSING', { path }, { exitCode: 2 });
      return typed;
    },
    async explain(work) {
      try {
        return await work();
      } catch (error) {
        if (typed === '' || !(error instanceof FleetError && error.code === 'BACKUP_PASSPHRASE_WRONG')) throw error;
        throw new FleetError('BACKUP_PASSPHRASE_MISTYPED', { path }, { exitCode: 2, cause: error });
      }
    },
  };
}
