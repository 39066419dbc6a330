import type { PartSpec } from '../topology/part-spec.ts';
import type { Part, Topology } from '../topology/topology.ts';
import { ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** The name of a part's unit. */
export function unitName(part: Part): string {
  return `livekit-fleet-${part}.service`;
}

/** Where a part's unit stands. */
export function unitFile(part: Part): string {
  return `/etc/systemd/system/${unitName(part)}`;
}

/**
 * The unit of one part: the service user without privileges, a file system that is read-only but for the part's own state,
 * and restarts without end. Directives are explained in systemd.exec(5); `systemd-analyze security` rates the result.
 * @param options.after parts of this machine that start before this one
 */
export function renderUnit(spec: PartSpec, topology: Topology, options: { user: string; after: readonly Part[] }): RenderedFile {
  const { user, after } = options;
  // What one of them starts for an upgrade runs in a unit of its own, outside of all this.
  const isRoot = spec.commandsNetwork || spec.commandsMachine;
  const capability = spec.bindsLowPorts ? 'CAP_NET_BIND_SERVICE' : spec.commandsNetwork ? 'CAP_NET_ADMIN' : '';
  const env = Object.entries({ LANG: 'C.UTF-8', ...spec.env }).map(([name, value]) => `Environment=${quote(`${name}=${value}`)}`);
  // Programs or data below a home (an operator's own paths) stay visible, but cannot be written.
  const isInHome = [...spec.argv, topology.layout.root].some((path) => /^\/(home|root|run\/user)\//.test(path));
  const lines = [
    '# Written by livekit-fleet; ./部署.sh deploy overwrites changes.',
    '[Unit]',
    `Description=livekit-fleet ${spec.part}`,
    'Wants=network-online.target',
    `After=${['network-online.target', ...after.map(unitName)].join(' ')}`,
    // Said here rather than in their units: a firewall that comes or goes then restarts nothing.
    ...(spec.part === 'firewall'
      ? [
          `Before=${topology.parts
            .filter((part) => !['firewall', 'sockets', 'upgrades', 'backups'].includes(part))
            .map(unitName)
            .join(' ')}`,
        ]
      : []),
    'StartLimitIntervalSec=0',
    '',
    '[Service]',
    'Type=exec',
    `User=${isRoot ? 'root' : user}`,
    `Group=${user}`,
    `WorkingDirectory=${topology.layout.state}`,
    ...env,
    `ExecStart=${spec.argv.map(quote).join(' ')}`,
    'Restart=always',
    'RestartSec=500ms',
    `TimeoutStopSec=${spec.stopSeconds}`,
    'LimitNOFILE=65536',
    // A core would hold the keys.
    'LimitCORE=0',
    ...limitsOf(spec.part),
    'UMask=0027',
    `AmbientCapabilities=${capability}`,
    `CapabilityBoundingSet=${capability}`,
    'NoNewPrivileges=yes',
    'ProtectSystem=strict',
    `ReadWritePaths=${isRoot ? topology.layout.run : `${topology.layout.state}/${spec.part}`}`,
    `ProtectHome=${isInHome ? 'read-only' : 'yes'}`,
    'PrivateTmp=yes',
    'PrivateDevices=yes',
    'ProtectClock=yes',
    'ProtectHostname=yes',
    'ProtectControlGroups=yes',
    'ProtectKernelLogs=yes',
    'ProtectKernelModules=yes',
    'ProtectKernelTunables=yes',
    'ProtectProc=invisible',
    'LockPersonality=yes',
    // V8 compiles to memory that it then executes.
    `MemoryDenyWriteExecute=${spec.compilesCode ? 'no' : 'yes'}`,
    'RestrictAddressFamilies=AF_INET AF_INET6 AF_UNIX AF_NETLINK',
    'RestrictNamespaces=yes',
    'RestrictRealtime=yes',
    'RestrictSUIDSGID=yes',
    'RemoveIPC=yes',
    'SystemCallArchitectures=native',
    'SystemCallFilter=@system-service',
    'SystemCallFilter=~@privileged',
    'SystemCallErrorNumber=EPERM',
    '',
    '[Install]',
    'WantedBy=multi-user.target',
    '',
  ];
  return ourFile(unitFile(spec.part), lines.join('\n'), { mode: 0o644 });
}

/**
 * What a part may grow to before it, rather than the machine, is in trouble; systemd starts it again. Our own programs need about
 * 100 MB and a dozen threads, Redis a handful of threads and a child that saves. How much LiveKit, Caddy and Redis hold follows
 * from the meetings: no number would be right.
 */
function limitsOf(part: Part): string[] {
  switch (part) {
    case 'service':
    case 'agent':
      return ['TasksMax=128', 'MemoryHigh=384M', 'MemoryMax=512M'];
    case 'firewall':
    case 'sockets':
    case 'upgrades':
    case 'backups':
    case 'redis':
    case 'sentinel':
      return ['TasksMax=128'];
    case 'livekit':
    case 'caddy':
      return ['TasksMax=4096'];
  }
}

/** A word of a unit's command line: `%` and `$` are special there even inside quotes. */
function quote(word: string): string {
  const text = word.replaceAll('%', '%%').replaceAll('$', '$$$$');
  return /^[A-Za-z0-9_./:=@%+,$-]+$/.test(text) ? text : `"${text.replaceAll('\\', '\\\\').replaceAll('"', '\\"')}"`;
}
