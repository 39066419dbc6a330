import type { Host, RunResult } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import { unitFile, unitName } from '../render/systemd.ts';
import { stopTimeoutSeconds } from '../topology/part-spec.ts';
import type { Part } from '../topology/topology.ts';
import type { PartStatus, ServiceManager } from './service-manager.ts';

/** systemd's catalogue id of "the main process of a unit has exited" (sd-messages.h, SD_MESSAGE_UNIT_PROCESS_EXIT). */
const PROCESS_EXIT = '98e322203f7a4ed290d09fe03c09fe15';
const SHOWN = 'Id,LoadState,ActiveState,SubState,Job,MainPID,NRestarts,ExecMainStartTimestampMonotonic,UnitFileState,NeedDaemonReload';

/** What lasts as long as people stay: units that are ordered after this one, and end meanwhile, are started again all the same. */
const aside = ['--no-block', '--job-mode=ignore-dependencies'];

type Properties = Readonly<Record<string, string>>;

/** Supervision by systemd, a unit per part. @param parts those that this machine has, in start order */
export function systemdManager(host: Host, parts: readonly Part[]): ServiceManager {
  const systemctl = (...words: string[]): Promise<RunResult> => host.run(['systemctl', ...words], { timeoutMs: (stopTimeoutSeconds + 20) * 1000 });

  /**
   * Stops or restarts units, and returns when that is done. One that does not end by then is killed: LiveKit, whose own limit is that of a
   * drain, waits for a Redis that it cannot reach, and the others for LiveKit. What would be left waiting would end later, whoever had started it meanwhile.
   */
  async function endUnits(action: 'stop' | 'restart', asked: readonly Part[]): Promise<RunResult> {
    const units = asked.map(unitName);
    const first = await host.run(['systemctl', action, ...units], { timeoutMs: stopTimeoutSeconds * 1000 });
    if (first.code === 0) return first;
    const shown = await show(asked);
    const hanging = units.filter((_unit, index) => shown[index]?.['ActiveState'] === 'deactivating');
    if (hanging.length > 0) await systemctl('kill', '--signal=KILL', ...hanging);
    // systemd still restarts those that it was asked to.
    return systemctl(action === 'stop' ? 'stop' : 'start', ...units);
  }

  /** @throws FleetError PART_NOT_CONTROLLED where systemctl did not do it */
  async function check(part: Part, action: string, { code, stderr }: RunResult): Promise<void> {
    if (code === 0) return;
    const [{ ActiveState = '', SubState = '', Job = '' } = {}] = await show([part]);
    throw new FleetError('PART_NOT_CONTROLLED', { part, action, detail: stderr.trim() || `systemctl: ${ActiveState}/${SubState} ${Job}`.trimEnd() });
  }

  /** Where systemctl gets no answer in time, systemd goes on with it all the same, and is waited for once more. */
  async function start(part: Part): Promise<void> {
    const first = await systemctl('start', unitName(part));
    const isUnanswered = first.code !== 0 && first.stderr.trim() === '';
    await check(part, 'start', isUnanswered ? await systemctl('start', unitName(part)) : first);
  }

  /** The properties of each part's unit, in the order asked. */
  async function show(asked: readonly Part[]): Promise<Properties[]> {
    const { stdout } = await systemctl('show', '-p', SHOWN, ...asked.map(unitName));
    const blocks = stdout.split('\n\n').map((block): Properties => Object.fromEntries(block.split('\n').map((line) => line.split(/=(.*)/s).slice(0, 2))));
    return asked.map((part) => blocks.find((block) => block['Id'] === unitName(part)) ?? {});
  }

  /** How the part's process last ended, from the journal. */
  async function lastExit(part: Part): Promise<string | null> {
    const argv = ['journalctl', '-q', '-u', unitName(part), `MESSAGE_ID=${PROCESS_EXIT}`, '-n', '1', '-o', 'json', '--output-fields=EXIT_CODE,EXIT_STATUS'];
    const { stdout } = await host.run(argv);
    if (stdout.trim() === '') return null;
    const entry = JSON.parse(stdout) as Properties;
    const at = new Date(Number(entry['__REALTIME_TIMESTAMP']) / 1000).toISOString().replace(/\.\d+Z$/, 'Z');
    return `${at} ${entry['EXIT_CODE'] ?? ''}=${entry['EXIT_STATUS'] ?? ''}`;
  }

  async function toStatus(part: Part, shown: Properties): Promise<PartStatus> {
    const isUp = shown['ActiveState'] === 'active' && shown['SubState'] === 'running';
    // One that runs and has been told to end waits for those that need it.
    const isEnding = isUp && (shown['Job'] ?? '') !== '';
    const isRunning = isUp && !isEnding;
    const isStopping = isEnding || shown['ActiveState'] === 'deactivating';
    // `failed` is one that was stopped and had to be killed: one that ends by itself is started again without end.
    const isFailing = shown['SubState'] === 'auto-restart';
    const exits = Number(shown['NRestarts'] ?? 0) + (isFailing ? 1 : 0);
    const startedMicroseconds = Number(shown['ExecMainStartTimestampMonotonic'] ?? 0);
    return {
      part,
      state: isRunning ? 'running' : isStopping ? 'stopping' : isFailing ? 'failing' : 'stopped',
      pid: isRunning || isStopping ? Number(shown['MainPID']) : null,
      uptimeSeconds: isRunning ? Math.max(0, Math.floor(Number(process.hrtime.bigint() / 1000n - BigInt(startedMicroseconds)) / 1e6)) : null,
      exits,
      lastExit: exits > 0 ? await lastExit(part) : null,
    };
  }

  return {
    async activate({ isChanged }) {
      const units = parts.map(unitName);
      const before = await show(parts);
      // systemd's own NeedDaemonReload does not see a file that was put back: that one is older than what is loaded.
      if (isChanged || before.some((one) => one['NeedDaemonReload'] === 'yes')) await systemctl('daemon-reload');
      if (before.every((one) => one['UnitFileState'] === 'enabled')) return;
      const { code, stderr } = await systemctl('enable', '--quiet', ...units);
      if (code !== 0) throw new FleetError('COMMAND_FAILED', { what: 'systemctl enable', detail: stderr.trim() });
    },
    start,
    async restart(part) {
      await check(part, 'restart', await endUnits('restart', [part]));
    },
    async stop(part) {
      await check(part, 'stop', await endUnits('stop', [part]));
    },
    async beginStop(part) {
      await check(part, 'stop', await systemctl('stop', ...aside, unitName(part)));
    },
    async beginStart(part) {
      await check(part, 'start', await systemctl('start', ...aside, unitName(part)));
    },
    // Where it has ended by itself meanwhile there is nothing to kill, which systemctl calls a failure.
    kill: async (part) => void (await systemctl('kill', '--kill-whom=main', '--signal=KILL', unitName(part))),
    async stopAll() {
      const shown = await show(parts);
      // A unit that is gone already, by a run that was ended half-way, cannot be stopped.
      const known = parts.filter((_part, index) => shown[index]?.['LoadState'] !== 'not-found');
      if (known.length === 0) return;
      const { code, stderr } = await endUnits('stop', known);
      if (code !== 0) throw new FleetError('COMMAND_FAILED', { what: 'systemctl stop', detail: stderr.trim() });
    },
    async retire(part) {
      await systemctl('disable', '--now', '--quiet', unitName(part));
      await host.remove(unitFile(part));
      await systemctl('daemon-reload');
    },
    async status(asked) {
      const shown = await show(asked);
      return Promise.all(asked.map((part, index) => toStatus(part, shown[index] ?? {})));
    },
    async tailLog(part, lines) {
      const { stdout } = await host.run(['journalctl', '-q', '-u', unitName(part), '-n', String(lines), '-o', 'short-iso', '--no-hostname', '--no-pager']);
      return stdout.trimEnd();
    },
    followLogs: (asked, lines) => [
      'journalctl',
      '-q',
      '-f',
      '-n',
      String(lines),
      '-o',
      'short-iso',
      '--no-hostname',
      ...asked.flatMap((part) => ['-u', unitName(part)]),
    ],
  };
}
