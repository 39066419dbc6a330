import { readFile, utimes } from 'node:fs/promises';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Part } from '../topology/topology.ts';

/** What a part is doing. */
export interface PartStatus {
  readonly part: Part;
  readonly state: 'running' | 'stopped' | 'failing';
  readonly pid: number | null;
  readonly uptimeSeconds: number | null;
  /** How often it ended by itself since it was set up, and how it last ended. */
  readonly exits: number;
  readonly lastExit: string | null;
}

/** Keeps parts alive. */
export interface ServiceManager {
  /** Makes the parts known and supervised. */
  activate(): Promise<void>;
  start(part: Part): Promise<void>;
  restart(part: Part): Promise<void>;
  /** Stops every part and the supervisor itself; returns when no process is left. */
  stopAll(parts: readonly Part[]): Promise<void>;
  status(part: Part): Promise<PartStatus>;
}

/**
 * Supervision by runit's runsvdir: parts outlive the terminal and are started again within a second.
 * @param tools folder with runit's programs; @param folder the one that runsvdir watches
 */
export function processManager(host: Host, options: { tools: string; folder: string; runDir: string }): ServiceManager {
  const { tools, folder, runDir } = options;
  const sv = (...words: string[]): Promise<{ code: number; stdout: string }> => host.run([`${tools}/sv`, ...words], { timeoutMs: 40_000 });
  const home = (part: Part): string => `${folder}/${part}`;

  async function supervisorPids(): Promise<string[]> {
    const found = await host.run(['pgrep', '-f', '-x', `.*runsvdir -P ${folder}`]);
    return found.stdout.split('\n').filter((line) => line !== '');
  }

  async function activate(): Promise<void> {
    if ((await supervisorPids()).length > 0) return;
    // runsvdir waits a second before it reads a folder that has changed within the current second.
    const longAgo = 1;
    await utimes(folder, longAgo, longAgo);
    await host.run(['env', '-i', `PATH=${tools}:/usr/sbin:/usr/bin:/sbin:/bin`, 'setsid', '--fork', `${tools}/runsvdir`, '-P', folder], { detached: true });
  }

  /** `-w` makes `sv` wait for the result; without it `up` returns at once. */
  async function act(part: Part, ...words: string[]): Promise<void> {
    // runsvdir looks for new folders every 5 s at most; until then `sv` has nobody to talk to.
    for (let left = 80; ; left--) {
      const { code, stdout } = await sv(...words, home(part));
      if (code === 0) return;
      if (left === 0 || !/unable to open supervise|runsv not running|supervise\/ok/.test(stdout))
        throw new FleetError('PART_NOT_CONTROLLED', { part, action: words.join(' '), detail: stdout.trim() });
      await new Promise((resolve) => setTimeout(resolve, 100));
    }
  }

  return {
    activate,
    async start(part) {
      await act(part, 'up');
    },
    async restart(part) {
      // `up` returns at once: whether the part stays up is for the health probes to say.
      // A part that keeps ending is started anew by itself, with the files that stand now; telling it `down` would race with that.
      if ((await sv('status', home(part))).stdout.startsWith('run:')) await act(part, '-w', '20', 'force-stop');
      await act(part, 'up');
    },
    async stopAll(parts) {
      const stopping = parts.toReversed();
      for (const part of stopping) await sv('-w', '20', 'force-stop', home(part));
      for (const pid of await supervisorPids()) await host.run(['kill', '-HUP', pid]);
      for (let left = 100; left > 0; left--) {
        const alive = await host.run(['pgrep', '-f', `(runsvdir -P ${folder}|svlogd -ttt ${folder})`]);
        if (alive.stdout === '') return;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async status(part) {
      const exitLines = (await readFile(`${runDir}/${part}.exits`, 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
      const { stdout } = await sv('status', home(part));
      const match = /^run: [^;]*?\(pid (\d+)\) (\d+)s/.exec(stdout);
      const state = match !== null ? 'running' : stdout.startsWith('down') && stdout.includes('want up') ? 'failing' : 'stopped';
      return {
        part,
        state,
        pid: match === null ? null : Number(match[1]),
        uptimeSeconds: match === null ? null : Number(match[2]),
        exits: exitLines.length,
        lastExit: exitLines.at(-1) ?? null,
      };
    },
  };
}
