import { existsSync } from 'node:fs';
import { purgeDataDir } from '../apply/data-dir.ts';
import { appliedFile } from '../apply/observe.ts';
import { sentinelFile } from '../render/redis.ts';
import { removeMadeUser } from '../host/service-user.ts';
import { FLEET_MEMORY } from '../contract/fleet-memory.ts';
import { upstreamFiles } from '../contract/upstream-files.ts';
import { FleetError } from '../kernel/errors.ts';
import { translate } from '../kernel/messages/translate.ts';
import type { CliContext } from './context.ts';
import { change } from './control.ts';
import { madeUserFile } from '../topology/topology.ts';
import { leaveFleet, removeParts } from './leave.ts';
import { ask } from './make-way.ts';
import type { WayOptions } from './make-way.ts';

/**
 * Removes what deploy made: parts, units, configuration and secrets below DATA_DIR. Data, logs and components stay unless
 * `isPurge`; the settings file is a person's and always stays, as does what others have in DATA_DIR.
 */
export async function uninstall(context: CliContext, { isPurge, ...options }: WayOptions & { isPurge: boolean }): Promise<void> {
  await change(
    context,
    'uninstall',
    async (deployment, hasSettled) => {
      const { topology } = deployment;
      const { layout } = topology;
      if (!options.isSure) {
        if (!process.stdin.isTTY) throw new FleetError('NOT_SURE_UNINSTALL', {}, { exitCode: 2 });
        const what = translate(context.language, isPurge ? 'UNINSTALL_ALL' : 'UNINSTALL_KEEPING', { path: layout.root });
        await ask(context, 'REALLY_UNINSTALL', { what });
      }
      const isThere = existsSync(appliedFile(topology));
      if (topology.hasMedia && isThere) await leaveFleet(context, deployment, { ...options, hasSettled });
      else await removeParts(context, deployment);
      // Another role would take what its Sentinel watches, and whom its agent has seen, for its own.
      const agent = `${layout.state}/agent`;
      for (const path of [sentinelFile(topology), `${agent}/${FLEET_MEMORY}`, ...upstreamFiles(agent, false)]) await context.host.remove(path);
      if (!isPurge) for (const folder of [layout.config, layout.app, layout.run]) await context.host.remove(folder);
      const madeUser = isPurge ? await removeMadeUser(context.host, madeUserFile(layout)) : null;
      const others = isPurge ? await purgeDataDir(context.host, layout) : [];
      if (madeUser !== null) context.reporter.say('USER_REMOVED', { name: madeUser });
      const kept = [context.envPath, ...(isPurge ? others.map((name) => `${layout.root}/${name}`) : [layout.state, layout.logs])];
      context.reporter.say('UNINSTALLED', { kept: kept.join(', ') });
      context.reporter.result({ uninstalled: true, kept });
    },
    { isRemnantEnough: true, isGivenUp: true },
  );
}
