import { mediaMachines } from '../fleet/fleet-of-three.ts';
import type { FleetOfThree } from '../fleet/fleet-of-three.ts';

const units = ['livekit-fleet-agent', 'livekit-fleet-sockets'];
const upstreams = mediaMachines.map((number) => ({ dial: `192.168.1.${number}:7880` }));
/** Every path leads to any node, as in a Caddyfile with three upstreams. */
const anyNode = [
  {
    match: [{ path: ['/n/*'] }],
    handle: [
      { handler: 'rewrite', path_regexp: [{ find: '^/n/[^/]+', replace: '' }] },
      { handler: 'reverse_proxy', upstreams, flush_interval: -1 },
    ],
    terminal: true,
  },
];

/** Takes from the fleet what the product adds: left are LiveKit, Redis and Sentinel with their files, and a Caddy with fixed upstreams. */
export async function makeStock({ lab }: FleetOfThree): Promise<void> {
  // The gateway's first: it would act on the others' going.
  for (const number of [1, ...mediaMachines]) await lab.machine(number).exec(['systemctl', 'stop', ...units]);
  await replace(lab, 'media/upstreams', upstreams);
  await replace(lab, 'media-internal/upstreams', upstreams);
  await replace(lab, 'media/stream_close_delay', 0);
  await replace(lab, 'node-paths/routes', anyNode);
}

/** A machine goes and comes in Caddy's list, as after an edited Caddyfile. */
export async function changeUpstreams({ lab }: FleetOfThree): Promise<void> {
  await replace(lab, 'media/upstreams', upstreams.slice(0, 2));
  await replace(lab, 'media/upstreams', upstreams);
}

/** Gives it back; the gateway's agent sets Caddy right. */
export async function makeOurs({ lab }: FleetOfThree): Promise<void> {
  await replace(lab, 'media/stream_close_delay', '24h');
  for (const number of [...mediaMachines, 1]) await lab.machine(number).exec(['systemctl', 'start', ...units]);
}

async function replace(lab: FleetOfThree['lab'], target: string, value: unknown): Promise<void> {
  const socket = '/var/lib/livekit-fleet/state/caddy/admin.sock';
  const words = ['-sS', '--fail-with-body', '--unix-socket', socket, '-X', 'PATCH', '-H', 'Content-Type: application/json', '-d', JSON.stringify(value)];
  const { code, out, err } = await lab.machine(1).exec(['curl', ...words, `http://localhost/id/${target}`]);
  if (code !== 0) throw new Error(`${target} not replaced: ${out}${err}`);
}
