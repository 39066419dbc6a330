import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';

/** The system user that the parts run as; made where it is missing. */
export async function ensureUser(host: Host, name: string): Promise<{ uid: number; gid: number }> {
  for (const isLast of [false, true]) {
    const found = await host.run(['getent', 'passwd', name]);
    const [, , uid, gid] = found.stdout.split(':');
    if (found.code === 0 && uid !== undefined && gid !== undefined) return { uid: Number(uid), gid: Number(gid) };
    if (isLast) break;
    const made = await host.run([
      'useradd',
      '--system',
      '--user-group',
      '--no-create-home',
      '--home-dir',
      '/nonexistent',
      '--shell',
      '/usr/sbin/nologin',
      name,
    ]);
    if (made.code !== 0) throw new FleetError('COMMAND_FAILED', { what: 'useradd', detail: made.stderr });
  }
  throw new FleetError('COMMAND_FAILED', { what: 'useradd', detail: name });
}
