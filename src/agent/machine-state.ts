import { execFile } from 'node:child_process';

/** Its own limit at the end is 90 s; this is asked of PID 1, which answers in milliseconds. */
const TIMEOUT_MS = 1_000;

/** True while systemd stops the whole machine (systemctl(1), is-system-running); false where there is no systemd to say. */
export function isMachineEnding(): Promise<boolean> {
  return new Promise((resolve) => {
    // It exits with 1 for whatever is not `running`.
    execFile('systemctl', ['is-system-running'], { timeout: TIMEOUT_MS }, (_error, stdout) => resolve(stdout.trim() === 'stopping'));
  });
}
