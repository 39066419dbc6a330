import { constants } from 'node:fs';
import { open, readFile, utimes } from 'node:fs/promises';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { exitsFile, serviceFolder } from '../render/runit.ts';
import { stopTimeoutSeconds } from '../topology/part-spec.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { PartStatus, ServiceManager } from './service-manager.ts';

/**
 * Supervision by runit's runsvdir: parts outlive the terminal and are started again within a second.
 * @param tools folder with runit's programs
 */
export function processManager(host: Host, topology: Topology, tools: string): ServiceManager {
  const folder = serviceFolder(topology);
  const pidFile = `${topology.layout.run}/supervisor.pid`;
  const wait = String(stopTimeoutSeconds);
  const sv = (...words: string[]): Promise<{ code: number; stdout: string }> =>
    host.run([`${tools}/sv`, ...words], { timeoutMs: (stopTimeoutSeconds + 20) * 1000 });
  const home = (part: Part): string => `${folder}/${part}`;

  async function supervisorPids(): Promise<string[]> {
    const found = await host.run(['pgrep', '-f', '-x', `.*runsvdir -P ${folder}`]);
    return found.stdout.split('\n').filter((line) => line !== '');
  }

  /** Whether runsvdir watches this folder: what its pid file names still has this command line. */
  async function isSupervised(): Promise<boolean> {
    const pid = await readFile(pidFile, 'utf8').catch(() => '');
    const commandLine = pid === '' ? '' : await readFile(`/proc/${pid.trim()}/cmdline`, 'utf8').catch(() => '');
    return commandLine.split('\0').includes(folder);
  }

  async function activate(): Promise<void> {
    if (await isSupervised()) return;
    // runsvdir waits a second before it reads a folder that has changed within the current second.
    const longAgo = 1;
    await utimes(folder, longAgo, longAgo);
    const environment = ['env', '-i', `PATH=${tools}:/usr/sbin:/usr/bin:/sbin:/bin`];
    const noted = ['sh', '-c', 'echo $$ >"$1"; shift; exec "$@"', 'sh', pidFile];
    await host.run([...environment, 'setsid', '--fork', ...noted, `${tools}/runsvdir`, '-P', folder], { detached: true });
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

  /** What `sv up` does, without a process for it: this is done for every part while they all start and need the CPU. */
  async function up(part: Part): Promise<void> {
    for (let left = 400; ; left--) {
      const problem = await write('u', `${home(part)}/supervise/control`);
      if (problem === null) return;
      // Until runsvdir has seen the folder there is no pipe, or nobody who reads it.
      if (left === 0 || (problem !== 'ENOENT' && problem !== 'ENXIO')) throw new FleetError('PART_NOT_CONTROLLED', { part, action: 'up', detail: problem });
      await new Promise((resolve) => setTimeout(resolve, 20));
    }
  }

  /** @param said what `sv status` says of the part */
  async function statusOf(part: Part, said: string): Promise<PartStatus> {
    const exitLines = (await readFile(exitsFile(topology, part), 'utf8').catch(() => '')).split('\n').filter((line) => line !== '');
    const match = /^run: [^;]*?\(pid (\d+)\) (\d+)s/.exec(said);
    const state = match !== null ? 'running' : said.startsWith('down') && said.includes('want up') ? 'failing' : 'stopped';
    return {
      part,
      state,
      pid: match === null ? null : Number(match[1]),
      uptimeSeconds: match === null ? null : Number(match[2]),
      exits: exitLines.length,
      lastExit: exitLines.at(-1) ?? null,
    };
  }

  /** The file that svlogd is writing. */
  function logFile(part: Part): string {
    return `${topology.layout.logs}/${part}/current`;
  }

  return {
    activate,
    async start(part) {
      await up(part);
    },
    async restart(part) {
      // `up` returns at once: whether the part stays up is for the health probes to say.
      // A part that keeps ending is started anew by itself, with the files that stand now; telling it `down` would race with that.
      if ((await sv('status', home(part))).stdout.startsWith('run:')) await act(part, '-w', wait, 'force-stop');
      await up(part);
    },
    async stop(part) {
      await act(part, '-w', wait, 'force-stop');
    },
    async stopAll() {
      // A part that no supervisor watches is not running: sv's complaint about it means nothing here.
      for (const part of topology.parts.toReversed()) await sv('-w', wait, 'force-stop', home(part));
      for (const pid of await supervisorPids()) await host.run(['kill', '-HUP', pid]);
      for (let left = 100; left > 0; left--) {
        const alive = await host.run(['pgrep', '-f', `(runsvdir -P ${folder}|svlogd -ttt ${topology.layout.logs}/)`]);
        if (alive.stdout === '') return;
        await new Promise((resolve) => setTimeout(resolve, 100));
      }
    },
    async retire(part) {
      await sv('-w', wait, 'force-stop', home(part));
      // runsvdir tells the part's runsv to end when its folder is gone.
      await host.remove(home(part));
      await host.remove(exitsFile(topology, part));
    },
    async status(parts) {
      // One line per part, in their order.
      const lines = (await sv('status', ...parts.map(home))).stdout.split('\n');
      return Promise.all(parts.map((part, index) => statusOf(part, lines[index] ?? '')));
    },
    async tailLog(part, lines) {
      return (await host.run(['tail', '-n', String(lines), logFile(part)])).stdout;
    },
    followLogs: (parts, lines) => ['tail', '-n', String(lines), '-F', ...parts.map(logFile)],
  };
}

/** Writes into a named pipe; gives null, or the system's error code. */
async function write(text: string, pipe: string): Promise<string | null> {
  try {
    await using control = await open(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    await control.write(text);
    return null;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
}
