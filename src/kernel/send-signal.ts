import { hasCode } from './has-code.ts';

/** Sends a process a signal, or with `-pid` a process group; 0 only asks whether it is there. Gives false where it has ended. @throws EPERM where it is another user's */
export function sendSignal(pid: number, name: NodeJS.Signals | 0): boolean {
  try {
    return process.kill(pid, name);
  } catch (error) {
    if (!hasCode(error, 'ESRCH')) throw error;
    return false;
  }
}
