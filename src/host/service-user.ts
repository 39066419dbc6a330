import { FleetError } from '../kernel/errors.ts';
import type { Host } from './host.ts';

/** A system user's numbers. */
export interface ServiceUser {
  readonly uid: number;
  readonly gid: number;
}

/**
 * The user that the parts run as; null where it is missing.
 * @throws FleetError USER_IS_ROOT
 */
export async function findUser(host: Host, name: string): Promise<ServiceUser | null> {
  const local = (await host.read('/etc/passwd'))?.content.split('\n').find((line) => line.startsWith(`${name}:`));
  // Users of a directory service are in no file.
  const found = local ?? (await host.run(['getent', 'passwd', name])).stdout;
  const [, , uid, gid] = found.split(':');
  if (uid === undefined || gid === undefined) return null;
  if (Number(uid) === 0) throw new FleetError('USER_IS_ROOT', { name }, { exitCode: 2 });
  return { uid: Number(uid), gid: Number(gid) };
}

/** Makes the system user that the parts run as. @param noteFile where it is noted that it is ours to remove */
export async function makeUser(host: Host, name: string, noteFile: string): Promise<ServiceUser> {
  const how = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin'];
  const made = await host.run(['useradd', ...how, name]);
  const user = await findUser(host, name);
  if (user === null) throw new FleetError('COMMAND_FAILED', { what: 'useradd', detail: made.stderr.trim() });
  await host.write(noteFile, `${name}\n`, { mode: 0o600, uid: 0, gid: 0 });
  return user;
}

/** Removes the user that makeUser made; gives its name, null where it made none. */
export async function removeMadeUser(host: Host, noteFile: string): Promise<string | null> {
  const name = (await host.read(noteFile))?.content.trim() ?? '';
  if (name === '') return null;
  await host.run(['userdel', name]);
  return name;
}
