import { readFile, readdir } from 'node:fs/promises';
import { sendSignal } from '../kernel/send-signal.ts';

/** The process of this machine's LiveKit, which runs under the agent's own user. */
export interface LivekitProcess {
  /** Null where none runs. */
  pid(): Promise<number | null>;
  /** Sends a signal; nothing to do where it has ended. */
  signal(pid: number, signal: 'SIGTERM' | 'SIGKILL'): void;
}

/** @param configFile the file that it was started with, which no other process has on its command line */
export function findLivekitProcess(configFile: string): LivekitProcess {
  return {
    async pid() {
      const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
      const found = await Promise.all(
        pids.map(async (pid) => {
          // One that has ended meanwhile, or that is not ours to see.
          const words = (await readFile(`/proc/${pid}/cmdline`, 'utf8').catch(() => '')).split('\0');
          return words[1] === '--config' && words[2] === configFile;
        }),
      );
      const index = found.indexOf(true);
      return index === -1 ? null : Number(pids[index]);
    },
    signal(pid, name) {
      sendSignal(pid, name);
    },
  };
}
