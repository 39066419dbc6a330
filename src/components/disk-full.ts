import { statfs } from 'node:fs/promises';
import { FleetError } from '../kernel/errors.ts';

/** With less than this no command gets anywhere (bytes). */
const tooLittle = 65_536;

/**
 * DISK_FULL where that is why a command failed, else null. Some clean up before they end, but say it (strerror of ENOSPC
 * and EDQUOT, and apt's own words); some say something else, but leave the disk of `folder` full (tar: "Wrote only …").
 * Names the file where the command does (Go's cache may be on another disk than the store), else `folder`.
 */
export async function diskFullIn({ stdout, stderr }: { stdout: string; stderr: string }, folder: string): Promise<FleetError | null> {
  const line = `${stdout}\n${stderr}`.split('\n').find((one) => /no space left on device|disk quota exceeded|don't have enough free space/i.test(one));
  const { bavail, bsize } = await statfs(folder);
  if (line === undefined && bavail * bsize >= tooLittle) return null;
  const path = /(?:^|\s)(\/[^\s:]*[^\s:./])/.exec(line ?? '')?.[1];
  // Below the store it is a stage that is removed in a moment.
  return new FleetError('DISK_FULL', { path: path === undefined || path.startsWith(`${folder}/`) ? folder : path });
}
