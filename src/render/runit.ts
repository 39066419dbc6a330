import type { PartSpec } from '../topology/part-spec.ts';
import type { Topology } from '../topology/topology.ts';
import { ourFile } from './rendered-file.ts';
import type { RenderedFile } from './rendered-file.ts';

/** Folder that runsvdir watches. */
export function serviceFolder(topology: Topology): string {
  return `${topology.layout.run}/services`;
}

/**
 * runit's files for one part: `run` drops to the service user without new privileges and dies with its supervisor;
 * `finish` notes how it ended; `log/run` rotates its output (10 files of 5 MB).
 * @param tools folder with runit's programs
 */
export function renderRunit(spec: PartSpec, topology: Topology, options: { user: string; tools: string }): RenderedFile[] {
  const folder = `${serviceFolder(topology)}/${spec.part}`;
  const low = spec.bindsLowPorts ? ' --inh-caps +net_bind_service --ambient-caps +net_bind_service' : '';
  const identity = spec.commandsMachine
    ? `--regid ${options.user} --clear-groups`
    : spec.commandsNetwork
      ? `--regid ${options.user} --clear-groups --bounding-set -all,+net_admin`
      : `--reuid ${options.user} --regid ${options.user} --init-groups`;
  const env = Object.entries({ PATH: '/usr/sbin:/usr/bin:/sbin:/bin', LANG: 'C.UTF-8', ...spec.env }).map(([name, value]) => `${name}=${quote(value)}`);
  const run = [
    '#!/bin/sh',
    'exec 2>&1',
    // A core would hold the keys.
    'ulimit -c 0',
    'ulimit -n 65536 2>/dev/null || ulimit -n "$(ulimit -Hn)"',
    `cd ${quote(topology.layout.state)}`,
    `exec setpriv ${identity} ${spec.commandsMachine ? '' : '--no-new-privs '}--pdeathsig TERM${low} \\`,
    `  env -i ${env.join(' ')} \\`,
    `  ${spec.argv.map(quote).join(' ')}`,
    '',
  ];
  // Ends on command are not counted: then runsv notes "want down" before it calls this.
  const finish = [
    '#!/bin/sh',
    `grep -q 'want down' supervise/stat || echo "$(date -u +%FT%TZ) code=$1 signal=$2" >> ${quote(exitsFile(topology, spec.part))}`,
    '',
  ];
  const logRun = ['#!/bin/sh', `exec ${quote(`${options.tools}/svlogd`)} -ttt ${quote(`${topology.layout.logs}/${spec.part}`)}`, ''];
  return [
    ourFile(`${folder}/run`, run.join('\n'), { mode: 0o750 }),
    ourFile(`${folder}/finish`, finish.join('\n'), { mode: 0o750 }),
    ourFile(`${folder}/log/run`, logRun.join('\n'), { mode: 0o750 }),
    ourFile(`${topology.layout.logs}/${spec.part}/config`, 's5000000\nn10\nN2\n'),
  ];
}

/** Where each end of a part is noted, a line each. */
export function exitsFile(topology: Topology, part: string): string {
  return `${topology.layout.run}/${part}.exits`;
}

function quote(word: string): string {
  return /^[A-Za-z0-9_./:=@%+,-]+$/.test(word) ? word : `'${word.replaceAll("'", "'\\''")}'`;
}
