import type { Settings } from '../settings/schema.ts';
import { livekitStopSeconds, stopTimeoutSeconds } from '../topology/part-spec.ts';
import type { PartSpec } from '../topology/part-spec.ts';
import { redisFile, sentinelFile } from './redis.ts';
import { pemCopies, turnPems } from '../topology/topology.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { firewallRules, firewallScript } from '../topology/firewall-files.ts';
import { socketsScript } from '../topology/socket-files.ts';
import { backupTimerCommand } from './backup-timer.ts';
import { backupsScript } from '../topology/backup-files.ts';
import { caddyFile } from './caddy.ts';
import { firewallCommand } from './firewall.ts';
import { upgradesScript } from '../topology/upgrade-files.ts';
import { socketsCommand } from './socket-closer.ts';
import { upgraderCommand } from './upgrader.ts';
import type { Project } from './upgrader.ts';

/** Absolute paths of the programs, from the component store; empty where no part of this machine needs one. */
export interface Programs {
  readonly node: string;
  readonly redisServer: string;
  readonly livekitServer: string;
  readonly caddy: string;
}

/** Ports below this are root's, or of those that root lets (net.ipv4.ip_unprivileged_port_start). */
const FIRST_OPEN_PORT = 1024;

/** The command lines of this machine's parts, in start order. */
export function renderParts(settings: Settings, topology: Topology, programs: Programs, project: Project): PartSpec[] {
  const { layout } = topology;
  const node = (program: string, youngMb: number): string[] => [
    programs.node,
    // One helper thread, a small young generation: these programs wait most of the time. With one too small, what a request needs for its
    // few milliseconds is taken for old: under load the service then needs a quarter more of time, and more memory.
    `--max-semi-space-size=${youngMb}`,
    '--v8-pool-size=1',
    `${layout.app}/${program}.cjs`,
    '--config',
    `${layout.config}/${program}.json`,
  ];
  const all: Record<Part, PartSpec> = {
    firewall: spec('firewall', firewallCommand(settings, topology), [firewallRules(layout), firewallScript(layout)], { commandsNetwork: true }),
    redis: spec('redis', [programs.redisServer, redisFile(topology)], [redisFile(topology)]),
    sentinel: spec('sentinel', [programs.redisServer, sentinelFile(topology), '--sentinel'], [sentinelFile(topology)]),
    livekit: spec(
      'livekit',
      [programs.livekitServer, '--config', `${layout.config}/livekit.yaml`],
      [`${layout.config}/livekit.yaml`, ...turnPems(topology.turn).map((one) => one.copy)],
      {
        bindsLowPorts: (topology.turn?.port ?? FIRST_OPEN_PORT) < FIRST_OPEN_PORT,
        stopSeconds: livekitStopSeconds(settings),
      },
    ),
    service: spec('service', node('service', 4), [`${layout.config}/service.json`, `${layout.app}/service.cjs`, `${layout.app}/service.js`], {
      compilesCode: true,
      env: { MALLOC_ARENA_MAX: '2', UV_THREADPOOL_SIZE: '2' },
    }),
    agent: spec('agent', node('agent', 1), [`${layout.config}/agent.json`, `${layout.app}/agent.cjs`, `${layout.app}/agent.js`], {
      compilesCode: true,
      env: { MALLOC_ARENA_MAX: '2', UV_THREADPOOL_SIZE: '2' },
    }),
    caddy: spec('caddy', [programs.caddy, 'run', '--config', caddyFile(topology)], [caddyFile(topology), ...pemCopies(topology.tls).map((one) => one.copy)], {
      env: { HOME: `${layout.state}/caddy`, XDG_DATA_HOME: `${layout.state}/caddy`, XDG_CONFIG_HOME: `${layout.state}/caddy` },
      bindsLowPorts: true,
    }),
    sockets: spec('sockets', socketsCommand(settings, topology), [socketsScript(layout)], { commandsNetwork: true }),
    upgrades: spec('upgrades', upgraderCommand(topology, project), [upgradesScript(layout)], { commandsMachine: true }),
    backups: spec('backups', backupTimerCommand(settings, topology, project), [backupsScript(layout)], { commandsMachine: true }),
  };
  return topology.parts.map((part) => all[part]);
}

function spec(part: Part, argv: string[], configFiles: string[], more: Partial<PartSpec> = {}): PartSpec {
  return {
    part,
    argv,
    configFiles,
    env: {},
    bindsLowPorts: false,
    compilesCode: false,
    commandsNetwork: false,
    commandsMachine: false,
    stopSeconds: stopTimeoutSeconds,
    ...more,
  };
}
