import type { Layout } from './topology.ts';

/** What the backups part begins the names of its files with. */
export function backupsBase(layout: Layout): string {
  return `${layout.run}/backups`;
}

/** The program that backs this machine up when it is time. */
export function backupsScript(layout: Layout): string {
  return `${layout.app}/backups.sh`;
}

/**
 * The part's state in words, when (seconds since 1970) the next backup is due, and in words what became of the last one. They are where
 * the part may write; the last two outlast it.
 */
export function backupFiles(layout: Layout): Readonly<Record<'state' | 'next' | 'last', string>> {
  const base = backupsBase(layout);
  return { state: `${base}.state`, next: `${base}.next`, last: `${base}.last` };
}
