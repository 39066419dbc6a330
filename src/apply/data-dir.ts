import { basename } from 'node:path';
import type { Host } from '../host/host.ts';
import { FleetError } from '../kernel/errors.ts';
import type { Topology } from '../topology/topology.ts';

/**
 * Refuses a DATA_DIR in which others have something: its owner and rights become ours.
 * @throws FleetError DATA_DIR_FOREIGN
 */
export async function checkDataDir(host: Host, { layout }: Topology): Promise<void> {
  const ours = new Set(
    [layout.config, layout.state, layout.logs, layout.run, layout.app, layout.lock, 'components', 'lost+found'].map((path) => basename(path)),
  );
  const foreign = (await host.list(layout.root)).find((name) => !ours.has(name.replace(/^lock\.\d+$/, 'lock')));
  if (foreign !== undefined) throw new FleetError('DATA_DIR_FOREIGN', { path: layout.root, entry: foreign }, { exitCode: 2 });
}
