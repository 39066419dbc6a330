import { basename } from 'node:path';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { codeOf, hasCode } from '../kernel/has-code.ts';
import type { Layout, Topology } from '../topology/topology.ts';

/** Backups go here unless BACKUP_DIR says otherwise. */
export const BACKUPS = 'backups';

/**
 * Refuses a DATA_DIR in which others have something: its owner and rights become ours.
 * @throws FleetError DATA_DIR_FOREIGN, DATA_DIR_UNUSABLE where not even root is told what is there
 */
export async function checkDataDir(host: Host, { layout }: Topology): Promise<void> {
  const [foreign] = await listOthers(host, layout).catch((error: unknown) => {
    if (!hasCode(error, 'EACCES', 'EPERM', 'ELOOP', 'ENAMETOOLONG')) throw error;
    throw new FleetError('DATA_DIR_UNUSABLE', { path: layout.root, reason: codeOf(error) }, { exitCode: 2, cause: error });
  });
  if (foreign !== undefined) throw new FleetError('DATA_DIR_FOREIGN', { path: layout.root, entry: foreign }, { exitCode: 2 });
}

/**
 * Removes DATA_DIR with all that is ours in it. What others have there stays, as do backups, and so does the folder then.
 * Gives the names of what stays.
 */
export async function purgeDataDir(host: Host, layout: Layout): Promise<string[]> {
  for (const name of await host.list(layout.root)) if (isOurs(layout, name) && name !== BACKUPS) await host.remove(`${layout.root}/${name}`);
  if ((await host.list(layout.root)).length === 0) await host.remove(layout.root);
  return [...(await listOthers(host, layout)), ...(await host.list(layout.root)).filter((name) => name === BACKUPS)];
}

/** Names in DATA_DIR that are not ours; a file system's own folder is nobody's. */
async function listOthers(host: Host, layout: Layout): Promise<string[]> {
  return (await host.list(layout.root)).filter((name) => name !== 'lost+found' && !isOurs(layout, name));
}

function isOurs({ config, state, logs, run, app, lock }: Layout, name: string): boolean {
  const ours = [...[config, state, logs, run, app, lock].map((path) => basename(path)), 'components', BACKUPS];
  return ours.includes(name.replace(/^lock\.\d+$/, 'lock'));
}
