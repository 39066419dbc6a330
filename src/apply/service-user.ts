import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';

/** A system user's numbers. */
export interface ServiceUser {
  readonly uid: number;
  readonly gid: number;
}

/** The user that the parts run as; null where it is missing. */
export async function findUser(host: Host, name: string): Promise<ServiceUser | null> {
  const found = await host.run(['getent', 'passwd', name]);
  const [, , uid, gid] = found.stdout.split(':');
  return found.code === 0 && uid !== undefined && gid !== undefined ? { uid: Number(uid), gid: Number(gid) } : null;
}

/** Makes the system user that the parts run as. */
export async function makeUser(host: Host, name: string): Promise<ServiceUser> {
  const how = ['--system', '--user-group', '--no-create-home', '--home-dir', '/nonexistent', '--shell', '/usr/sbin/nologin'];
  const made = await host.run(['useradd', ...how, name]);
  const user = await findUser(host, name);
  if (user === null) throw new FleetError('COMMAND_FAILED', { what: 'useradd', detail: made.stderr.trim() });
  return user;
}
