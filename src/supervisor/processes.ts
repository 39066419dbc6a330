import { closeSync, constants, existsSync, openSync, readFileSync, readdirSync, rmSync, utimesSync, writeFileSync, writeSync } from 'node:fs';
import { readdir, readlink, stat } from 'node:fs/promises';
import { setTimeout as delay } from 'node:timers/promises';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { sendSignal } from '../kernel/send-signal.ts';
import { exitsFile, serviceFolder } from '../render/runit.ts';
import { stopTimeoutSeconds } from '../topology/part-spec.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { PartStatus, ServiceManager } from './service-manager.ts';

const POLL_MS = 20;
/** Longer than runsvdir may need to see a new folder. */
const SEEN_MS = 8_000;
/** What the kernel does not end in so long waits for a disk or the like. */
const KILLED_SECONDS = 20;
/** Programs of the supervision; while one is replaced the kernel adds DELETED. */
const SUPERVISION = /\/(runsvdir|runsv|svlogd)( \(deleted\))?$/;
const DELETED = ' (deleted)';
/** After how long a part that was told to end, and does not run, will not run again though nothing says so: after one that has ended at once runsv sleeps for a second. */
const SETTLED_MS = 2_000;
/** How long the supervision has to end, and after how long it does without the log lines that a full disk does not take. */
const [LAST_MS, LOGS_MS] = [10_000, 3_000];

/**
 * Supervision by runit's runsvdir: parts outlive the terminal and are started again within a second.
 * @param options.tools folder with runit's programs
 * @param options.now milliseconds since 1970
 */
export function processManager(host: Host, topology: Topology, { tools, now }: { tools: string; now: () => number }): ServiceManager {
  const folder = serviceFolder(topology);
  const pidFile = `${topology.layout.run}/supervisor.pid`;
  const home = (part: Part): string => `${folder}/${part}`;
  const control = (part: Part): string => `${home(part)}/supervise/control`;
  /** This command has started the supervisor: its pid file may not be there yet. */
  let isNew = false;

  /**
   * Every process of the supervision: runsvdir, a runsv per part, their log writers and the scripts between them, also
   * those whose runsvdir was killed. Only root gets into this folder or can run as root: nobody can pretend to be one.
   */
  async function supervision(): Promise<Supervising[]> {
    const pids = (await readdir('/proc')).filter((name) => /^\d+$/.test(name));
    const found = await Promise.all(
      pids.map(async (pid) => {
        try {
          const [cwd, exe, info] = await Promise.all([readlink(`/proc/${pid}/cwd`), readlink(`/proc/${pid}/exe`), stat(`/proc/${pid}`)]);
          // svlogd goes back and forth between its part's folder and that of the log.
          const isWithin = cwd === folder || [folder, topology.layout.logs].some((place) => cwd.startsWith(`${place}/`));
          const isOurs = info.uid === 0 && SUPERVISION.test(exe) && isWithin;
          return isOurs ? [{ pid: Number(pid), folder: cwd, isLog: /\/svlogd\b/.test(exe), isHomeless: cwd.endsWith(DELETED) }] : [];
        } catch {
          // It has ended meanwhile, or is a thread of the kernel.
          return [];
        }
      }),
    );
    return found.flat();
  }

  /** The runsvdir that watches this folder: what its pid file names still has this command line. */
  function supervisorPid(): number | null {
    const pid = readText(pidFile).trim();
    return pid !== '' && readText(`/proc/${pid}/cmdline`).split('\0').includes(folder) ? Number(pid) : null;
  }

  async function activate(): Promise<void> {
    if (supervisorPid() === null) await startSupervisor(await endForsaken());
  }

  /**
   * Ends each runsv that has nothing to run and whose runsvdir is gone, as after a `stop` that was killed: it may be about to end, and its log
   * writer be gone. It would take what the next one is told, and hold its lock. One whose part runs goes on.
   * @returns the folders of those parts
   */
  async function endForsaken(): Promise<string[]> {
    const ended = new Set<string>();
    for (const deadline = performance.now() + SEEN_MS; performance.now() < deadline;) {
      const idle = readdirSync(folder)
        .map((part) => `${folder}/${part}`)
        .filter(isForsaken);
      if (idle.length === 0) break;
      for (const path of idle) {
        ended.add(path);
        write('x', `${path}/supervise/control`);
      }
      await delay(POLL_MS);
    }
    return [...ended];
  }

  /** Starts runsvdir with these parts stopped, as they were; it would start all. */
  async function startSupervisor(stopped: readonly string[]): Promise<void> {
    for (const path of stopped) writeFileSync(`${path}/down`, '');
    // runsvdir waits a second before it reads a folder that has changed within the current second.
    const longAgo = 1;
    utimesSync(folder, longAgo, longAgo);
    const noted = ['/bin/sh', '-c', 'echo $$ >"$1"; shift; exec "$@"', 'sh', pidFile];
    const env = { PATH: `${tools}:/usr/sbin:/usr/bin:/sbin:/bin` };
    await host.run([...noted, `${tools}/runsvdir`, '-P', folder], { detached: true, env });
    isNew = true;
    for (const deadline = performance.now() + SEEN_MS; stopped.some((path) => readSupervised(path) === null) && performance.now() < deadline;)
      await delay(POLL_MS);
    for (const path of stopped) rmSync(`${path}/down`, { force: true });
  }

  /** Tells a part's runsv that it is to run (`u`) or to end (`d`), as `sv` does; without a process for it, while all parts need the CPU. */
  async function tell(part: Part, word: 'u' | 'd'): Promise<void> {
    // runsvdir looks for new folders every 5 s at most; until then there is no pipe, or nobody who reads it.
    for (const deadline = performance.now() + SEEN_MS; ;) {
      const problem = write('', `${home(part)}/supervise/ok`) ?? write(word, control(part));
      if (problem === null) return;
      const mayPass = (problem === 'ENOENT' || problem === 'ENXIO') && (isNew || supervisorPid() !== null);
      if (!mayPass || performance.now() > deadline)
        throw new FleetError('PART_NOT_CONTROLLED', { part, action: word === 'u' ? 'start' : 'stop', detail: `runsv: ${problem}` });
      await delay(POLL_MS);
    }
  }

  /**
   * What runsv says of its part; where the process that it names has ended, or it names none, what it runs by the kernel: on a full disk it
   * cannot note anything. Whether the part is to run may then be what was last noted.
   */
  async function observe(part: Part): Promise<Supervised | null> {
    const noted = readSupervised(home(part));
    if (noted === null || noted.state === 'down' || (noted.pid !== 0 && sendSignal(noted.pid, 0))) return noted;
    const all = await supervision();
    const runsv = all.find((one) => one.folder === home(part) && !one.isLog);
    const children = `/proc/${runsv?.pid}/task/${runsv?.pid}/children`;
    // Not every kernel tells.
    if (runsv === undefined || !existsSync(children)) return noted;
    const logs = new Set(all.filter(({ isLog }) => isLog).map(({ pid }) => String(pid)));
    const pid = readText(children)
      .split(' ')
      .find((one) => one !== '' && !logs.has(one));
    return pid === undefined ? { ...noted, state: 'down', pid: 0 } : { ...noted, state: 'run', pid: Number(pid) };
  }

  /** Tells a part to end, kills it where it does not, and returns when it has ended. */
  async function end(part: Part): Promise<void> {
    const before = await observe(part);
    // Who is told twice may take that for haste: LiveKit would throw everybody out.
    if (before === null || before.isWanted || !before.isTold) await tell(part, 'd');
    const toldMs = performance.now();
    let downSinceMs = Number.POSITIVE_INFINITY;
    for (let isKilled = false; ;) {
      const found = await observe(part);
      downSinceMs = found?.state === 'down' ? Math.min(downSinceMs, performance.now()) : Number.POSITIVE_INFINITY;
      if (found?.state === 'down' && (!found.isWanted || performance.now() - downSinceMs > SETTLED_MS)) return;
      if (found === null) {
        if (supervisorPid() === null) return;
        // That one starts another runsv, which knows nothing of it.
        await tell(part, 'd');
      }
      const seconds = (performance.now() - toldMs) / 1000;
      if (seconds > stopTimeoutSeconds && !isKilled) isKilled = write('k', control(part)) === null;
      if (seconds > stopTimeoutSeconds + KILLED_SECONDS) throw new FleetError('STILL_RUNNING', { pids: String(found?.pid ?? part) });
      await delay(POLL_MS);
    }
  }

  /** The same; nothing to do where nobody watches the part: it does not run. */
  async function endWatched(part: Part): Promise<void> {
    if (readSupervised(home(part)) !== null) await end(part);
  }

  async function statusOf(part: Part): Promise<PartStatus> {
    const exitLines = readText(exitsFile(topology, part))
      .split('\n')
      .filter((line) => line !== '');
    const found = await observe(part);
    const pid = found?.state === 'run' ? found.pid : null;
    return {
      part,
      state: pid !== null ? (found?.isWanted === true ? 'running' : 'stopping') : found?.isWanted === true ? 'failing' : 'stopped',
      pid,
      uptimeSeconds: pid === null ? null : Math.max(0, Math.floor(now() / 1000 - (found?.since ?? 0))),
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
    start: (part) => tell(part, 'u'),
    async restart(part) {
      // A part that keeps ending is started anew by itself, with the files that stand now; telling it to end would race with that.
      if ((await observe(part))?.state === 'run') await end(part);
      await tell(part, 'u');
    },
    stop: end,
    async beginStop(part) {
      write('d', control(part));
    },
    beginStart: (part) => tell(part, 'u'),
    async kill(part) {
      write('k', control(part));
    },
    async stopAll() {
      // What does not end is told below.
      for (const part of topology.parts.toReversed()) await endWatched(part).catch(ignoreUnended);
      const supervisor = supervisorPid();
      if (supervisor !== null) sendSignal(supervisor, 'SIGHUP');
      for (const beganMs = performance.now(); ;) {
        const alive = await supervision();
        if (alive.length === 0) return;
        const ms = performance.now() - beganMs;
        if (ms > LAST_MS) throw new FleetError('STILL_RUNNING', { pids: alive.map(({ pid }) => pid).join(', ') });
        // Where runsvdir was killed, each runsv and its log writer live on until they are told, by a signal where the part was retired since.
        for (const part of await readdir(folder).catch(() => [])) write('x', `${folder}/${part}/supervise/control`);
        for (const { pid } of alive.filter((one) => one.isHomeless)) sendSignal(pid, 'SIGTERM');
        // svlogd waits until it can write.
        if (ms > LOGS_MS) for (const { pid } of alive.filter((one) => one.isLog)) sendSignal(pid, 'SIGKILL');
        await delay(50);
      }
    },
    async retire(part) {
      await endWatched(part);
      // runsvdir tells the part's runsv to end when its folder is gone.
      await host.remove(home(part));
      await host.remove(exitsFile(topology, part));
    },
    status: (parts) => Promise.all(parts.map(statusOf)),
    async tailLog(part, lines) {
      return (await host.run(['tail', '-n', String(lines), logFile(part)])).stdout;
    },
    followLogs: (parts, lines) => ['tail', '-n', String(lines), '-F', ...parts.map(logFile)],
  };
}

/** A process of the supervision. */
interface Supervising {
  readonly pid: number;
  /** Where it works: a part's folder, or that of its log. */
  readonly folder: string;
  /** Whether it writes a log. */
  readonly isLog: boolean;
  /** Whether that folder is gone. */
  readonly isHomeless: boolean;
}

/** What runsv says of its part in `supervise/status`. */
interface Supervised {
  readonly state: 'down' | 'run' | 'finish' | 'unknown';
  readonly pid: number;
  /** Whether it is to run, rather than was told to stop. */
  readonly isWanted: boolean;
  /** Whether it got SIGTERM. */
  readonly isTold: boolean;
  /** Seconds since 1970. */
  readonly since: number;
}

/** Seconds of a TAI64 label at 1970-01-01 (runit's tai.h, which counts 10 leap seconds). */
const TAI_EPOCH = 2n ** 62n + 10n;

/**
 * Reads the 20 bytes that runsv keeps: TAI64N time (12 bytes, big-endian), pid (4, little-endian), paused, wanted (`u` or
 * `d`), got TERM, state (0 down, 1 run, 2 finish), as runit's sv.c does. Null where no runsv is there; where the disk has taken
 * less than these bytes, or none yet, the state is unknown.
 */
function readSupervised(folder: string): Supervised | null {
  // A pipe that nobody reads: runsv is gone, and what its file says is old.
  if (write('', `${folder}/supervise/ok`) !== null) return null;
  const bytes = existsSync(`${folder}/supervise/status`) ? readFileSync(`${folder}/supervise/status`) : Buffer.alloc(0);
  const said = (['down', 'run', 'finish'] as const)[bytes[19] ?? 0];
  if (bytes.length !== 20 || said === undefined) return { state: 'unknown', pid: 0, isWanted: false, isTold: false, since: 0 };
  const pid = bytes.readUInt32LE(12);
  // runsv takes what it has killed for ended at once.
  const state = said === 'down' && pid !== 0 ? 'run' : said;
  return { state, pid, isWanted: bytes[17] === 0x75, isTold: bytes[18] === 1, since: Number(bytes.readBigUInt64BE(0) - TAI_EPOCH) };
}

/** Whether a runsv has ended its part for good, or is about to. */
function isForsaken(home: string): boolean {
  const found = readSupervised(home);
  return found !== null && !found.isWanted && (found.state === 'down' || readText(`${home}/supervise/stat`).includes('want exit'));
}

/** A file's text; empty where it cannot be read. */
function readText(path: string): string {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return '';
  }
}

/** Writes into a named pipe without waiting for its reader; gives null, or the system's error code. */
function write(text: string, pipe: string): string | null {
  try {
    const control = openSync(pipe, constants.O_WRONLY | constants.O_NONBLOCK);
    try {
      if (text !== '') writeSync(control, text);
    } finally {
      closeSync(control);
    }
    return null;
  } catch (error) {
    if (error instanceof Error && 'code' in error) return String(error.code);
    throw error;
  }
}

function ignoreUnended(error: unknown): void {
  if (!(error instanceof FleetError)) throw error;
}
