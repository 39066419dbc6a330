import type { Redis } from 'ioredis';
import { randomUUID } from 'node:crypto';
import { basename } from 'node:path';
import { viewFleet } from '../apply/ask-fleet.ts';
import { giveTurn, takeTurn } from '../apply/goodbye.ts';
import type { GoodbyeContext } from '../apply/goodbye.ts';
import { keepIfProved, tryRemoveBeyond } from '../backup/retention.ts';
import { noteBeside, unfinishedSwap } from '../backup/swap.ts';
import type { FleetView } from '../clients/sentinel.ts';
import type { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import { makeArchive, progressOf, proveArchive } from './backup.ts';
import { placeOf } from './backup-place.ts';
import type { CliContext } from './context.ts';
import type { PutInPlace, Target } from './put-in-place.ts';
import { settleRestore } from './settle-restore.ts';
import { withExchange } from './with-exchange.ts';

/** Another machine that leaves or is upgraded takes longer than anyone would wait here. */
const PATIENCE_MS = 10_000;
/** The others wait so long at most, should this machine not come to an end. */
const TURN_MS = 600_000;

/**
 * Restores Redis's data in a fleet that lives: on all its machines, so nobody else leaves or restores meanwhile, and what it has now is
 * backed up, and proved, first. Then they are loaded beside those in use, and `replace` does the rest.
 * @param given.source how a person named the archive that is restored: it is not among the old ones that are removed
 * @throws FleetError OTHER_IS_LEAVING, RESTORE_ELSEWHERE, REDIS_BESIDE_TAKEN, REDIS_REFUSED, those of a backup; what `replace` throws
 */
export async function restoreFleet(
  context: CliContext,
  { settings, topology }: Target,
  given: { fleet: FleetView; scratch: Redis; source: string; replace: (exchangeId: string) => Promise<PutInPlace> },
): Promise<PutInPlace> {
  const { host, now, signal, reporter } = context;
  const goodbye: GoodbyeContext = { settings, view: () => viewFleet(host, settings, topology), patienceMs: PATIENCE_MS, now, signal };
  await takeTurn(topology.machine, goodbye, TURN_MS);
  const machine = { settings, topology, exchangeId: randomUUID() };
  try {
    await noteBeside(host, topology.layout, machine.exchangeId);
    await withExchange(context, machine, (exchange) => exchange.claim());
    const place = placeOf(settings, topology.layout, undefined);
    const { name } = await makeArchive(context, { settings, topology, place, mayBeEmpty: true });
    await keepIfProved(place, name, () => proveArchive(context, { settings, topology, place, name }));
    const onProgress = progressOf(context, 'restore');
    const load = { signal, onProgress: (percent: number): void => onProgress(`Redis ${percent} %`) };
    await withExchange(context, machine, (exchange) => exchange.load(given.scratch, load));
    const done = await given.replace(machine.exchangeId);
    // By its name, which tells machine and second: a path may lead there in many ways.
    const isGiven = (one: string): boolean => basename(given.source) === one;
    const onStay = ({ code, params }: FleetError): void =>
      reporter.emit({ kind: 'note', code: 'BACKUP_NOT_PRUNED', params: { reason: translate(context.language, code, params) } });
    await tryRemoveBeyond(place, { keep: settings.BACKUP_KEEP, nowMs: Date.now(), machine: topology.machine, made: name, isKept: isGiven }, onStay);
    return { ...done, former: place.addressOf(name) };
  } catch (error) {
    // What was loaded is let go of, unless `replace` could not put back the rest: that has been said, and the next command does it.
    if ((await unfinishedSwap(host, topology.layout))?.phase !== 'swapping') await settleRestore(context, { settings, topology }).catch(() => undefined);
    throw error;
  } finally {
    await giveTurn(topology.machine, goodbye, (await goodbye.view()) ?? given.fleet);
  }
}
