import { knownHosts, askAll, viewFleet } from '../apply/ask-fleet.ts';
import { sayGoodbye } from '../apply/goodbye.ts';
import { letGoOf } from '../backup/exchange.ts';
import { hostOf, isReachable } from '../contract/node-record.ts';
import { FleetError } from '../kernel/errors.ts';
import type { CliContext } from './context.ts';
import { change } from './control.ts';
import { ask } from './make-way.ts';

const PATIENCE_MS = 20_000;

/**
 * Strikes a media machine off the registry that will not come back, so that the others no longer count it in their vote.
 * @param name its name or address
 * @throws FleetError UNKNOWN_MACHINE, MACHINE_LIVES, FLEET_UNREACHABLE, NO_PRIMARY, GOODBYE_FAILED; NOT_SURE_FORGET where nobody can be asked
 */
export async function forget(context: CliContext, name: string, { isSure }: { isSure: boolean }): Promise<void> {
  await change(context, 'forget', async ({ settings, topology }) => {
    const { host, now, signal, reporter } = context;
    const fleet = await viewFleet(host, settings, topology);
    if (fleet === null) throw new FleetError('FLEET_UNREACHABLE', { hosts: (await knownHosts(host, topology)).join(', '), port: settings.SENTINEL_PORT });
    if (fleet.registry === null) throw new FleetError('NO_PRIMARY', { address: fleet.primary.host });
    const { records, nowMs } = fleet.registry;
    const record = records.find((one) => one.machine === name || hostOf(one.signalling) === name);
    if (record === undefined) throw new FleetError('UNKNOWN_MACHINE', { machine: name, known: records.map((one) => one.machine).join(', ') }, { exitCode: 2 });
    const address = hostOf(record.signalling);
    const answers = isReachable(record, nowMs) || address === topology.address || (await askAll(settings, [address])).get(address)?.kind === 'member';
    if (answers) throw new FleetError('MACHINE_LIVES', { machine: record.machine, address }, { exitCode: 2 });
    if (!isSure && !process.stdin.isTTY) throw new FleetError('NOT_SURE_FORGET', { machine: record.machine }, { exitCode: 2 });
    if (!isSure) await ask(context, 'REALLY_FORGET', { machine: record.machine });
    const view = (): Promise<typeof fleet | null> => viewFleet(host, settings, topology);
    await sayGoodbye({ machine: record.machine, address }, { settings, view, patienceMs: PATIENCE_MS, now, signal });
    await letGoOf(record.machine, { ...((await view()) ?? fleet).primary, password: settings.REDIS_PASSWORD });
    reporter.say('FORGOTTEN', { machine: record.machine });
    reporter.result({ forgotten: record.machine });
  });
}
