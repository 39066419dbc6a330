import { createHash } from 'node:crypto';
import { basename } from 'node:path';
import type { Desired } from '../plan/plan.ts';
import { renderAgent, renderService } from '../render/app.ts';
import { renderBackupTimer } from '../render/backup-timer.ts';
import { renderCaddy, renderFirstUpstream } from '../render/caddy.ts';
import { renderFirewall } from '../render/firewall.ts';
import { renderLivekit } from '../render/livekit.ts';
import { renderParts } from '../render/parts.ts';
import type { Programs } from '../render/parts.ts';
import { renderRedis, renderSentinel, renderWitness } from '../render/redis.ts';
import type { FleetSeed } from '../render/redis.ts';
import { copiedFile, json, ourFile } from '../render/rendered-file.ts';
import type { RenderedFile } from '../render/rendered-file.ts';
import { renderRunit } from '../render/runit.ts';
import { renderSockets } from '../render/socket-closer.ts';
import { renderUnit } from '../render/systemd.ts';
import { renderUpgrader } from '../render/upgrader.ts';
import type { Project } from '../render/upgrader.ts';
import type { Settings } from '../settings/schema.ts';
import { livekitVersionFile, publicAddressFile, roleFile } from '../topology/topology.ts';
import type { Part, Topology } from '../topology/topology.ts';
import type { ChosenVersion } from './chosen-version.ts';

/** What the settings ask of this machine: every file, and per part the fingerprint of all that it is started from. */
export function desire(input: {
  settings: Settings;
  topology: Topology;
  programs: Programs;
  /** What the upgrades part runs. */
  project: Project;
  seed: FleetSeed;
  /** Folder with runit's programs; null where systemd supervises. */
  tools: string | null;
  livekitVersion: string;
  /** Null where nobody has chosen a version. */
  chosen: ChosenVersion | null;
  /** The bundled programs that run under the service user: where each stands, and its first line, which names what it was built from. */
  apps: ReadonlyArray<{ path: string; head: string }>;
  /** The operator's certificates and key (`pemCopies` of the topology), each with its text. */
  pems: ReadonlyArray<{ copy: string; text: string }>;
}): Desired {
  const { settings, topology, programs, tools } = input;
  const has = (part: Part): boolean => topology.parts.includes(part);
  const configs: RenderedFile[] = [
    ...(topology.hasMedia
      ? [renderRedis(settings, topology, input.seed), renderSentinel(settings, topology, input.seed), renderLivekit(settings, topology)]
      : has('sentinel')
        ? [renderWitness(settings, topology)]
        : []),
    ...(has('firewall') ? renderFirewall(settings, topology) : []),
    ...(has('sockets') ? [renderSockets(topology)] : []),
    ...(has('upgrades') ? [renderUpgrader(topology)] : []),
    ...(has('backups') ? [renderBackupTimer(topology)] : []),
    // Before the agent's file, which names what runs: a run that is killed between the two has noted the choice.
    ...(input.chosen === null ? [] : [ourFile(livekitVersionFile(topology.layout), json(input.chosen))]),
    renderAgent(settings, topology, input.livekitVersion),
    ...(has('caddy') ? [renderCaddy(settings, topology), ...renderFirstUpstream(settings, topology)] : []),
    ...(has('service') ? [renderService(settings, topology)] : []),
    ...input.apps.map(({ path, head }) => copiedFile(`${topology.layout.app}/${basename(path)}`, path, head)),
    ourFile(roleFile(topology.layout), json({ role: topology.role })),
    ...(topology.publicAddress === null ? [] : [ourFile(publicAddressFile(topology.layout), json(topology.publicAddress))]),
    ...input.pems.map(({ copy, text }) => ourFile(copy, text)),
  ];
  const specs = renderParts(settings, topology, programs, input.project);
  const user = settings.SERVICE_USER;
  const units = specs.map((spec, index) => ({
    spec,
    files:
      tools === null
        ? [renderUnit(spec, topology, { user, after: topology.parts.slice(0, index).filter((part) => part !== 'firewall') })]
        : renderRunit(spec, topology, { user, tools }),
  }));
  const parts = units.map(({ spec, files }) => {
    // Its log is another program's.
    const own = files.filter((file) => !file.path.startsWith(`${topology.layout.logs}/`));
    const inputs = [...own, ...configs.filter((file) => spec.configFiles.includes(file.path))];
    return {
      part: spec.part,
      fingerprint: createHash('sha256')
        .update(inputs.map((file) => (file.ownership.kind === 'shared' ? file.ownership.body : file.content)).join('\0'))
        .digest('hex'),
    };
  });
  return { files: [...configs, ...units.flatMap((unit) => unit.files)], parts };
}
